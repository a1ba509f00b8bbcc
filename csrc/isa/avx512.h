// What the two AVX-512 tables share: loads, stores, thresholds and signs on 16 lanes.
#pragma once

#include <immintrin.h>

#include "../generic/table.h"

namespace featherbit {
namespace {

struct Avx512Base {
    using Bits = __m512i;
    using I32 = __m512i;
    static constexpr int kLanes = 16;

    static I32 zero() { return _mm512_setzero_si512(); }
    static Bits load(const std::uint32_t* at) { return _mm512_loadu_si512(at); }
    static Bits broadcast(std::uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }
    static void store(std::int32_t* to, I32 value) { _mm512_storeu_si512(to, value); }
    static void store_dot(std::int32_t* to, std::int32_t k, I32 differing) {
        store(to, _mm512_sub_epi32(_mm512_set1_epi32(k), _mm512_slli_epi32(differing, 1)));
    }
    static I32 load_i32(const std::int32_t* at) { return _mm512_loadu_si512(at); }
    static I32 add_scaled(I32 sum, I32 count, std::int32_t coefficient) {
        return _mm512_add_epi32(sum, _mm512_mullo_epi32(count, _mm512_set1_epi32(coefficient)));
    }
    static I32 add_sixteenth(I32 sum, I32 times_16) { return _mm512_add_epi32(sum, _mm512_srai_epi32(times_16, 4)); }
    // 64 weight bits to 64 bytes of -1 and +1.
    static Bits expand(std::uint64_t word, int) {
        return _mm512_mask_blend_epi8(word, _mm512_set1_epi8(-1), _mm512_set1_epi8(1));
    }
    static void stream_group(std::int32_t* to, const std::int32_t* from) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), _mm512_loadu_si512(from));
    }
    static Reals fused(Reals a, Reals b, Reals c) { return reinterpret_cast<Reals>(_mm512_fmadd_ps(a, b, c)); }
    static Bytes low_bytes(Ints x) { return __builtin_convertvector(x, Bytes); }
    static bool any_at_least(Ints x, std::int32_t least) {
        return _mm512_cmpge_epi32_mask(reinterpret_cast<__m512i>(x), _mm512_set1_epi32(least)) != 0;
    }
    static void finish_stream() { _mm_sfence(); }
    static unsigned at_least(const std::int32_t* acc, const std::int32_t* thresholds) {
        return _mm512_cmpge_epi32_mask(_mm512_loadu_si512(acc), _mm512_loadu_si512(thresholds));
    }
    // Bits x >= 0 of 16 floats: zero of either sign counts, NaN does not.
    static unsigned not_negative(const float* x) {
        return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_GE_OQ);
    }
    static std::uint64_t signs(const float* x) {
        std::uint64_t word = 0;
        for (int i = 0; i < 4; ++i) {
            const __mmask16 part = _mm512_cmp_ps_mask(_mm512_loadu_ps(x + 16 * i), _mm512_setzero_ps(), _CMP_GE_OQ);
            word |= static_cast<std::uint64_t>(part) << (16 * i);
        }
        return word;
    }
};

}  // namespace
}  // namespace featherbit
