// Pack the signs of float32 rows.
#pragma once

#include "../kernels.h"

namespace featherbit {
namespace {

template <class Simd>
void pack_f32u1(const float* x, std::int64_t m, std::int64_t k, std::uint64_t* out) {
    for (std::int64_t row = 0; row < m; ++row) {
        const float* from = x + row * k;
        std::int64_t i = 0;
        for (; i + kWordBits <= k; i += kWordBits) *out++ = Simd::signs(from + i);
        if (i < k) {
            std::uint64_t word = 0;
            for (std::int64_t j = i; j < k; ++j) word |= static_cast<std::uint64_t>(from[j] >= 0.0F) << (j - i);
            *out++ = word;
        }
    }
}

}  // namespace
}  // namespace featherbit
