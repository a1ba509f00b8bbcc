// Depthwise convolution of bytes: each channel by itself, a vector of them at a time.
#pragma once

#include "lanes.h"

namespace featherbit {
namespace {

inline Ints widen(const char* at, std::int64_t count) {
    Bytes bytes = {};
    if (count > 0) __builtin_memcpy(&bytes, at, static_cast<unsigned long>(count < kVector ? count : kVector));
    return __builtin_convertvector(bytes, Ints);
}

template <class Simd>
void depthwise_u8(const Gather& gather, const std::int32_t* weights, std::int64_t n, const std::int32_t* base,
                  const Block& block) {
    const std::int64_t columns = groups_of(n) * kGroup;
    for (std::int64_t row = 0; row < gather.m; ++row) {
        const char* from = gather.a + gather.rows[row];
        for (std::int64_t column = 0; column < columns; column += kVector) {
            Ints sum = load_lanes<Ints>(base + column);
            for (std::int64_t run = 0; run < gather.run_count; ++run)
                sum += widen(from + gather.runs[run] + column, n - column) *
                       load_lanes<Ints>(weights + run * columns + column);
            store_lanes(block.at + gather.place(row) * block.stride + column, sum);
        }
    }
}

}  // namespace
}  // namespace featherbit
