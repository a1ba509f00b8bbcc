// x86-64 with AVX-512 VPOPCNTDQ and VNNI: Ice Lake, Sapphire Rapids, Zen 4 and later.
//
// Each 512 products are one vpxord, one vpopcntd and one vpaddd: on Zen 4 six half-width slots on four pipes, 1.5 cycles.
// Rejected: a carry-save adder of three vpternlogd that halves the popcounts; measured on Zen 4, vpternlogd runs at half
// the rate of vpxord and shares its pipes with vpopcntd, so the adder is slower than what it saves (see docs/log.md).
//   instruction        Zen 4, 512 bits, measured
//   vpxord, vpaddd     2 per cycle
//   vpopcntd           1 per cycle
//   vpternlogd         1 per cycle beside vpopcntd
//   vpdpbusd           1 per cycle
#include "avx512.h"

namespace featherbit {
namespace {

struct Avx512Vpopcnt : Avx512Base {
    using Counter = __m512i;  // int32 lanes
    static constexpr int kRows = 4, kGroups = 3, kSingleRowGroups = 4;
    static constexpr int kConvRows = 4, kConvGroups = 4;
    static constexpr int kByteRows = 8, kByteGroups = 2, kByteSingleRowGroups = 8;
    static constexpr std::int64_t kMaxWords = std::int64_t{1} << 40;

    static Counter no_counts() { return _mm512_setzero_si512(); }
    static void count(Counter& counter, Bits a, Bits b) {
        counter = _mm512_add_epi32(counter, _mm512_popcnt_epi32(_mm512_xor_si512(a, b)));
    }
    static void count_and(Counter& counter, Bits a, Bits b) {
        counter = _mm512_add_epi32(counter, _mm512_popcnt_epi32(_mm512_and_si512(a, b)));
    }
    static I32 add_counts(I32 sum, Counter counter) { return _mm512_add_epi32(sum, counter); }
    static I32 dot_bytes(I32 sum, Bits bytes, Bits weights) { return _mm512_dpbusd_epi32(sum, bytes, weights); }

    template <bool Wide>
    using ByteWeights = Bits;
    template <bool Wide>
    static Bits byte_weights(Bits w) {
        return w;
    }
    template <bool Wide>
    static I32 dot_s8(I32 sum, Bits bytes, Bits weights) {
        return _mm512_dpbusd_epi32(sum, bytes, weights);
    }
};

bool supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512vnni");
}

}  // namespace

extern const KernelTable kAvx512VpopcntTable = make_table<Avx512Vpopcnt>("avx512vpopcnt", supported);

}  // namespace featherbit
