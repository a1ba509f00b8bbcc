// x86-64 with AVX2 and FMA: Haswell, Zen 1 and later.
//
// No popcount instruction on vectors: a nibble looks its count up in a 16-entry table (vpshufb), bytes count up to 31
// steps of 8 bits before they are widened (31 * 8 = 248 <= 255), by vpmaddubsw and vpmaddwd into int32 lanes.
//   instruction   Zen 4 pipes   Skylake ports
//   vpxor, vpand  4             p015
//   vpshufb       2             p5
//   vpaddb        4             p015
#include <immintrin.h>

#include <type_traits>

#include "../generic/table.h"

namespace featherbit {
namespace {

struct Avx2 {
    using Bits = __m256i;
    using I32 = __m256i;
    using Counter = __m256i;  // bytes
    static constexpr int kLanes = 8;
    static constexpr int kRows = 4, kGroups = 1, kSingleRowGroups = 2;
    static constexpr int kConvRows = 4, kConvGroups = 1;
    static constexpr int kByteRows = 4, kByteGroups = 1, kByteSingleRowGroups = 2;
    static constexpr std::int64_t kMaxWords = 15;  // two steps of 8 bits each: 15 * 16 = 240 <= 255

    static I32 zero() { return _mm256_setzero_si256(); }
    static Counter no_counts() { return _mm256_setzero_si256(); }
    static Bits load(const std::uint32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
    static Bits broadcast(std::uint32_t word) { return _mm256_set1_epi32(static_cast<int>(word)); }

    static Bits byte_counts(Bits x) {
        const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                               0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
        const __m256i nibble = _mm256_set1_epi8(15);
        const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
        const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
        return _mm256_add_epi8(low, high);
    }
    static void count(Counter& counter, Bits a, Bits b) {
        counter = _mm256_add_epi8(counter, byte_counts(_mm256_xor_si256(a, b)));
    }
    static void count_and(Counter& counter, Bits a, Bits b) {
        counter = _mm256_add_epi8(counter, byte_counts(_mm256_and_si256(a, b)));
    }
    static I32 add_counts(I32 sum, Counter counter) {
        const __m256i pairs = _mm256_maddubs_epi16(counter, _mm256_set1_epi8(1));
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    static void store_dot(std::int32_t* to, std::int32_t k, I32 differing) {
        store(to, _mm256_sub_epi32(_mm256_set1_epi32(k), _mm256_slli_epi32(differing, 1)));
    }
    static I32 load_i32(const std::int32_t* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }
    static I32 add_scaled(I32 sum, I32 count, std::int32_t coefficient) {
        return _mm256_add_epi32(sum, _mm256_mullo_epi32(count, _mm256_set1_epi32(coefficient)));
    }
    static I32 add_sixteenth(I32 sum, I32 times_16) { return _mm256_add_epi32(sum, _mm256_srai_epi32(times_16, 4)); }
    static void store(std::int32_t* to, I32 value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value); }

    // 32 weight bits to 32 bytes of -1 and +1.
    static Bits expand(std::uint64_t word, int part) {
        const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                                2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
        const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
        const __m256i bytes = _mm256_shuffle_epi8(broadcast(static_cast<std::uint32_t>(word >> (32 * part))), spread);
        const __m256i clear = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), _mm256_setzero_si256());
        return _mm256_or_si256(clear, _mm256_set1_epi8(1));
    }
    // Each pair of products is at most 510 in size: vpmaddubsw cannot saturate.
    static I32 dot_bytes(I32 sum, Bits bytes, Bits weights) {
        const __m256i pairs = _mm256_maddubs_epi16(bytes, weights);
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    struct WideWeights {
        Bits even, odd;
    };
    template <bool Wide>
    using ByteWeights = std::conditional_t<Wide, WideWeights, Bits>;
    // int8 weights: as they are, or their even and odd bytes widened to 16 bits, where pairs of products would saturate.
    template <bool Wide>
    static ByteWeights<Wide> byte_weights(Bits w) {
        if constexpr (Wide) {
            return {_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), _mm256_srai_epi16(w, 8)};
        } else {
            return w;
        }
    }
    template <bool Wide>
    static I32 dot_s8(I32 sum, Bits bytes, ByteWeights<Wide> weights) {
        if constexpr (Wide) {
            const Bits even = _mm256_and_si256(bytes, _mm256_set1_epi16(255)), odd = _mm256_srli_epi16(bytes, 8);
            return _mm256_add_epi32(_mm256_add_epi32(sum, _mm256_madd_epi16(even, weights.even)), _mm256_madd_epi16(odd, weights.odd));
        } else {
            return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, weights), _mm256_set1_epi16(1)));
        }
    }
    static void stream_group(std::int32_t* to, const std::int32_t* from) {
        for (int i = 0; i < kGroup; i += kLanes)
            _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i),
                                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i)));
    }
    static Reals fused(Reals a, Reals b, Reals c) { return reinterpret_cast<Reals>(_mm256_fmadd_ps(a, b, c)); }
    static Bytes low_bytes(Ints x) {
        const __m256i lowest = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,  //
                                                0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
        const __m256i halves = _mm256_shuffle_epi8(reinterpret_cast<__m256i>(x), lowest);
        const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        const std::int64_t bytes = _mm_cvtsi128_si64(both);
        return __builtin_bit_cast(Bytes, bytes);
    }
    static bool any_at_least(Ints x, std::int32_t least) {
        const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(least), reinterpret_cast<__m256i>(x));
        return _mm256_movemask_epi8(below) != -1;
    }
    static void finish_stream() { _mm_sfence(); }

    static unsigned below(const std::int32_t* acc, const std::int32_t* thresholds) {
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(acc));
        const __m256i t = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(thresholds));
        return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(t, x))));
    }
    static unsigned at_least(const std::int32_t* acc, const std::int32_t* thresholds) {
        return ~(below(acc, thresholds) | below(acc + 8, thresholds + 8) << 8) & 0xFFFFu;
    }
    static unsigned not_negative(const float* x) {
        unsigned bits = 0;
        for (int i = 0; i < 2; ++i) {
            const __m256 at_least_zero = _mm256_cmp_ps(_mm256_loadu_ps(x + 8 * i), _mm256_setzero_ps(), _CMP_GE_OQ);
            bits |= static_cast<unsigned>(_mm256_movemask_ps(at_least_zero)) << (8 * i);
        }
        return bits;
    }
    static std::uint64_t signs(const float* x) {
        std::uint64_t word = 0;
        for (int i = 0; i < 8; ++i) {
            const __m256 at_least_zero = _mm256_cmp_ps(_mm256_loadu_ps(x + 8 * i), _mm256_setzero_ps(), _CMP_GE_OQ);
            word |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_ps(at_least_zero))) << (8 * i);
        }
        return word;
    }
};

bool supported() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

extern const KernelTable kAvx2Table = make_table<Avx2>("avx2", supported);

}  // namespace featherbit
