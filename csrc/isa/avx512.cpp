// x86-64 with AVX-512 F, BW, DQ and VL but no vector popcount: Skylake-X, Cascade Lake.
//
// The same byte counters as AVX2, on 64 bytes; bytes of a first layer by vpmaddubsw and vpmaddwd.
#include <type_traits>

#include "avx512.h"

namespace featherbit {
namespace {

struct Avx512 : Avx512Base {
    using Counter = __m512i;  // bytes
    static constexpr int kRows = 4, kGroups = 2, kSingleRowGroups = 4;
    static constexpr int kConvRows = 4, kConvGroups = 2;
    static constexpr int kByteRows = 6, kByteGroups = 2, kByteSingleRowGroups = 8;
    static constexpr std::int64_t kMaxWords = 15;  // two steps of 8 bits each: 15 * 16 = 240 <= 255

    static Counter no_counts() { return _mm512_setzero_si512(); }
    static Bits byte_counts(Bits x) {
        const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
        const __m512i nibble = _mm512_set1_epi8(15);
        const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(x, nibble));
        const __m512i high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble));
        return _mm512_add_epi8(low, high);
    }
    static void count(Counter& counter, Bits a, Bits b) {
        counter = _mm512_add_epi8(counter, byte_counts(_mm512_xor_si512(a, b)));
    }
    static void count_and(Counter& counter, Bits a, Bits b) {
        counter = _mm512_add_epi8(counter, byte_counts(_mm512_and_si512(a, b)));
    }
    static I32 add_counts(I32 sum, Counter counter) {
        const __m512i pairs = _mm512_maddubs_epi16(counter, _mm512_set1_epi8(1));
        return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
    }
    // Each pair of products is at most 510 in size: vpmaddubsw cannot saturate.
    static I32 dot_bytes(I32 sum, Bits bytes, Bits weights) {
        const __m512i pairs = _mm512_maddubs_epi16(bytes, weights);
        return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
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
            return {_mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), _mm512_srai_epi16(w, 8)};
        } else {
            return w;
        }
    }
    template <bool Wide>
    static I32 dot_s8(I32 sum, Bits bytes, ByteWeights<Wide> weights) {
        if constexpr (Wide) {
            const Bits even = _mm512_and_si512(bytes, _mm512_set1_epi16(255)), odd = _mm512_srli_epi16(bytes, 8);
            return _mm512_add_epi32(_mm512_add_epi32(sum, _mm512_madd_epi16(even, weights.even)), _mm512_madd_epi16(odd, weights.odd));
        } else {
            return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(bytes, weights), _mm512_set1_epi16(1)));
        }
    }
};

bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

extern const KernelTable kAvx512Table = make_table<Avx512>("avx512", supported);

}  // namespace featherbit
