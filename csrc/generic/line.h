// Codes of many bits by a line: one multiplication instead of a comparison with each threshold (TileOpKind::line).
#pragma once

#include "lanes.h"

namespace featherbit {
namespace {

// How many thresholds of a column a sum reaches, or does not reach where it flips, by looking around a guess.
inline std::int32_t settle(const TileOp& op, std::int32_t x, std::int64_t column, std::int32_t guess) {
    const bool flip = op.flips[column] != 0;
    const auto all = static_cast<std::int32_t>(op.count);
    std::int32_t reached = flip ? all - guess : guess;
    while (reached < all && x >= op.integers[reached * op.integers_stride + column]) ++reached;
    while (reached > 0 && x < op.integers[(reached - 1) * op.integers_stride + column]) --reached;
    return flip ? all - reached : reached;
}

// The codes of sums that may be close to a tie: rare, and apart from the loop that finds codes.
template <int Rows>
__attribute__((noinline)) void settle_lanes(const TileOp& op, std::int64_t column, const Ints* sums, Ints* codes) {
    for (int r = 0; r < Rows; ++r)
        for (int lane = 0; lane < kVector; ++lane) {
            float y = static_cast<float>(sums[r][lane]) * op.reals[column + lane] + op.more_reals[column + lane];
            const auto low = static_cast<float>(op.low), high = static_cast<float>(op.count);
            y = y > low ? y : low;
            y = y < high ? y : high;
            if (__builtin_fabsf(y - static_cast<float>(codes[r][lane])) >= 0.5F - op.real_low)
                codes[r][lane] = settle(op, sums[r][lane], column + lane, codes[r][lane]);
        }
}

template <class Simd, int Rows>
inline void count_by_line(const TileOp& op, std::int64_t column, Ints (&x)[Rows]) {
    const Reals low = Reals{} + static_cast<float>(op.low), high = Reals{} + static_cast<float>(op.count);
    const Reals multiplier = load_lanes<Reals>(op.reals + column), addend = load_lanes<Reals>(op.more_reals + column);
    Ints codes[Rows], most_off = {};
    FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) {
        Reals y = to_reals(x[r]) * multiplier + addend;
        y = y > low ? y : low;
        y = y < high ? y : high;
        const Rounded rounded(y);
        codes[r] = rounded.integer();
        // Floats that are not negative compare as the integers of their bits do.
        most_off = larger(most_off, reinterpret_cast<Ints>(y - rounded.real()) & 0x7FFFFFFF);
    }
    if (Simd::any_at_least(most_off, __builtin_bit_cast(std::int32_t, 0.5F - op.real_low))) {
        Ints sums[Rows], settled[Rows];  // copies: what has an address cannot stay in registers
        FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) sums[r] = x[r];
        FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) settled[r] = codes[r];
        settle_lanes<Rows>(op, column, sums, settled);
        FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) codes[r] = settled[r];
    }
    FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) x[r] = codes[r];
}

}  // namespace
}  // namespace featherbit
