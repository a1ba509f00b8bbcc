// What becomes of a block of sums: correction, pooling, scaling, thresholds, codes, and how they are stored.
//
// The ops run over a few rows at a time, so that the lanes stay in the first-level cache from the first op to the last.
#pragma once

#include "lanes.h"

namespace featherbit {
namespace {

// Apply `f(lanes, column)` to every 16 lanes of the rows.
template <class Vector, class F>
inline void each_group(const Tile& tile, F f) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        std::int32_t* at = tile.block.at + row * tile.block.stride;
        for (std::int64_t i = 0; i < tile.n; i += kGroup) store_lanes(at + i, f(load_lanes<Vector>(at + i), tile.column + i));
    }
}

// What a comparison gives, all bits or none, as +1 or -1.
inline Ints plus_minus_one(Ints holds) { return -(holds * 2 + 1); }

inline void correct(const TileOp& op, const Tile& tile) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int64_t kind = op.row_class[tile.first + row];
        if (kind == 0) continue;
        std::int32_t* at = tile.block.at + row * tile.block.stride;
        const std::int32_t* add = op.integers + kind * op.integers_stride + tile.column;
        for (std::int64_t i = 0; i < tile.n; i += kGroup)
            store_lanes(at + i, load_lanes<Ints>(at + i) + load_lanes<Ints>(add + i));
    }
}

inline Ints larger(Ints a, Ints b) { return a > b ? a : b; }

inline void max_of_four(const std::int32_t* from, std::int64_t right, std::int64_t below, std::int64_t n, std::int32_t* to) {
    for (std::int64_t i = 0; i < n; i += kGroup) {
        const Ints top = larger(load_lanes<Ints>(from + i), load_lanes<Ints>(from + right + i));
        const Ints bottom = larger(load_lanes<Ints>(from + below + i), load_lanes<Ints>(from + below + right + i));
        store_lanes(to + i, larger(top, bottom));
    }
}

// Windows lie side by side; rows of a strip of windows follow each other, so a maximum is written before what is read next.
inline void max_rows(const TileOp& op, Tile& tile) {
    const std::int64_t across = op.width / op.low, window = std::int64_t{op.low} * op.high, m = tile.m / window;
    for (std::int64_t out = 0; out < m; ++out) {
        const std::int64_t corner = out / across * op.high * op.width + out % across * op.low;
        std::int32_t* to = tile.block.at + out * tile.block.stride;
        if (op.low == 2 && op.high == 2) {
            max_of_four(tile.block.at + corner * tile.block.stride, tile.block.stride, op.width * tile.block.stride, tile.n, to);
            continue;
        }
        for (std::int64_t i = 0; i < tile.n; i += kGroup) {
            const std::int32_t* from = tile.block.at + corner * tile.block.stride + i;
            Ints most = load_lanes<Ints>(from);
            for (std::int64_t k = 1; k < window; ++k) {
                const Ints x = load_lanes<Ints>(from + (k / op.low * op.width + k % op.low) * tile.block.stride);
                most = larger(most, x);
            }
            store_lanes(to + i, most);
        }
    }
    tile.first /= window;
    tile.m = m;
}

inline void affine(const TileOp& op, const Tile& tile, bool from_integers) {
    each_group<Ints>(tile, [&](Ints lanes, std::int64_t column) {
        const Reals x = from_integers ? to_reals(lanes) : reinterpret_cast<Reals>(lanes);
        const Reals multiplier = load_lanes<Reals>(op.reals + column), addend = load_lanes<Reals>(op.more_reals + column);
        return reinterpret_cast<Ints>(op.fused ? fused_multiply_add(x, multiplier, addend) : x * multiplier + addend);
    });
}

// Combine with another value of the same rows and columns.
template <class Vector, class F>
inline void with_other(const TileOp& op, const Tile& tile, F f) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        std::int32_t* at = tile.block.at + row * tile.block.stride;
        const char* other = tile.memory[op.memory] + op.rows[tile.first + row] + tile.column * 4;
        for (std::int64_t i = 0; i < tile.n; i += kGroup) {
            Vector y = {};
            const std::int64_t count = tile.n - i < kGroup ? tile.n - i : kGroup;
            if (count == kGroup) {
                __builtin_memcpy(&y, other + i * 4, sizeof(y));
            } else {
                __builtin_memcpy(&y, other + i * 4, static_cast<unsigned long>(count * 4));
            }
            store_lanes(at + i, f(load_lanes<Vector>(at + i), y));
        }
    }
}

inline Ints code_of(Reals x, float low, float high) {
    // A NaN fails the comparison and becomes the lowest code.
    const Reals at_least = x > low ? x : Reals{} + low;
    return __builtin_convertvector(round_even(at_least < high ? at_least : Reals{} + high), Ints);
}

inline Ints count_reached(const TileOp& op, Ints x, std::int64_t column) {
    Ints count = {};
    for (std::int64_t j = 0; j < op.count; ++j) count -= x >= load_lanes<Ints>(op.integers + j * op.integers_stride + column);
    const Ints flip = load_lanes<Ints>(op.flips + column);
    const Ints all = Ints{} + static_cast<std::int32_t>(op.count);
    return flip != 0 ? all - count : count;
}

// The bits x > 0 of 16 lanes; lanes past `valid` are 0.
template <class Simd>
inline unsigned positive(const std::int32_t* lanes, std::int64_t valid) {
    alignas(64) static constexpr std::int32_t ones[kGroup] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const unsigned bits = Simd::at_least(lanes, ones);
    return valid >= kGroup ? bits : bits & ((1u << valid) - 1u);
}

// How many thresholds of a column a sum reaches, or does not reach where it flips, by looking around a guess.
inline std::int32_t settle(const TileOp& op, std::int32_t x, std::int64_t column, std::int32_t guess) {
    const bool flip = op.flips[column] != 0;
    const auto all = static_cast<std::int32_t>(op.count);
    std::int32_t reached = flip ? all - guess : guess;
    while (reached < all && x >= op.integers[reached * op.integers_stride + column]) ++reached;
    while (reached > 0 && x < op.integers[(reached - 1) * op.integers_stride + column]) --reached;
    return flip ? all - reached : reached;
}

template <class Simd>
inline Ints count_by_line(const TileOp& op, Ints x, std::int64_t column) {
    const Reals high = Reals{} + static_cast<float>(op.count), zero = {};
    Reals y = to_reals(x) * load_lanes<Reals>(op.reals + column) + load_lanes<Reals>(op.more_reals + column);
    y = y > zero ? y : zero;
    y = y < high ? y : high;
    const Reals rounded = round_even(y);
    Ints codes = __builtin_convertvector(rounded, Ints);
    const Reals off = y > rounded ? y - rounded : rounded - y;
    alignas(64) std::int32_t near[kGroup];
    store_lanes(near, -(off > 0.5F - kLineSlack));
    for (unsigned left = positive<Simd>(near, kGroup); left != 0; left &= left - 1) {
        const int lane = __builtin_ctz(left);
        codes[lane] = settle(op, x[lane], column + lane, codes[lane]);
    }
    return codes;
}

// Write the bits of one row; the last column also clears the rest of its 64-bit word.
template <class Simd, class Lanes>
inline void write_bits(char* to, const Tile& tile, Lanes lanes_of) {
    std::int64_t i = 0;
    for (; i < tile.n; i += kGroup) {
        alignas(64) std::int32_t lanes[kGroup];
        store_lanes(lanes, lanes_of(i));
        const auto bits = static_cast<std::uint16_t>(positive<Simd>(lanes, tile.n - i));
        __builtin_memcpy(to + (tile.column + i) / 8, &bits, 2);
    }
    if (!tile.last_column) return;
    for (const std::uint16_t none = 0; (tile.column + i) % kWordBits != 0; i += kGroup)
        __builtin_memcpy(to + (tile.column + i) / 8, &none, 2);
}

template <class Simd>
inline void store_bits(const TileOp& op, const Tile& tile) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int32_t* from = tile.block.at + row * tile.block.stride;
        char* to = tile.memory[op.memory] + op.rows[tile.first + row];
        write_bits<Simd>(to, tile, [&](std::int64_t i) { return load_lanes<Ints>(from + i); });
    }
}

template <class Simd>
inline void store_planes(const TileOp& op, const Tile& tile) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int32_t* from = tile.block.at + row * tile.block.stride;
        char* to = tile.memory[op.memory] + op.rows[tile.first + row];
        for (std::int64_t plane = 0; plane < op.count; ++plane)
            write_bits<Simd>(to + plane * op.plane_bytes, tile,
                             [&](std::int64_t i) { return load_lanes<Ints>(from + i) >> static_cast<int>(plane) & 1; });
    }
}

// Thresholds straight to bit-planes, with no code in between. Of T ascending thresholds a sum reaches the first c, so bit p
// of the count c is the parity of those among thresholds 2^p, 2 * 2^p, 3 * 2^p ... (counted from 1) that it reaches; and
// T - c, for T = 2^k - 1, is c with every bit inverted.
template <class Simd, int Planes>
inline void planes_by_threshold(const TileOp& op, const TileOp& to, const Tile& tile) {
    const auto* flips = reinterpret_cast<const std::uint16_t*>(op.flip_bits);
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int32_t* from = tile.block.at + row * tile.block.stride;
        auto* at = reinterpret_cast<std::uint16_t*>(tile.memory[to.memory] + to.rows[tile.first + row]);
        const std::int64_t plane_parts = to.plane_bytes / 2;
        std::int64_t i = 0;
        for (; i < tile.n; i += kGroup) {
            const std::int64_t column = tile.column + i, part = column / kGroup;
            unsigned bits[Planes];
            for (int plane = 0; plane < Planes; ++plane) bits[plane] = flips[part];
            for (std::int64_t t = 1; t <= (Planes == 1 ? 1 : op.count); ++t) {
                const unsigned reached = Simd::at_least(from + i, op.integers + (t - 1) * op.integers_stride + column);
                for (int plane = 0; plane < Planes; ++plane) bits[plane] ^= t % (1 << plane) == 0 ? reached : 0;
            }
            const unsigned mask = tile.n - i >= kGroup ? 0xFFFFu : (1u << (tile.n - i)) - 1u;
            for (int plane = 0; plane < Planes; ++plane)
                at[plane * plane_parts + part] = static_cast<std::uint16_t>(bits[plane] & mask);
        }
        for (; tile.last_column && (tile.column + i) % kWordBits != 0; i += kGroup)
            for (int plane = 0; plane < Planes; ++plane) at[plane * plane_parts + (tile.column + i) / kGroup] = 0;
    }
}

template <class Simd>
inline void planes_by_threshold(const TileOp& op, const TileOp& to, const Tile& tile) {
    switch (to.count) {
        case 1: return planes_by_threshold<Simd, 1>(op, to, tile);
        case 2: return planes_by_threshold<Simd, 2>(op, to, tile);
        case 3: return planes_by_threshold<Simd, 3>(op, to, tile);
        default: return planes_by_threshold<Simd, 4>(op, to, tile);
    }
}

// Bytes past the last column, up to whole quads, are of no account: their weights are zero.
inline void store_bytes(const TileOp& op, const Tile& tile) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int32_t* from = tile.block.at + row * tile.block.stride;
        char* to = tile.memory[op.memory] + op.rows[tile.first + row] + tile.column;
        for (std::int64_t i = 0; i < tile.n; i += kGroup) {
            const Bytes bytes = __builtin_convertvector(load_lanes<Ints>(from + i) + op.shift, Bytes);
            const std::int64_t room = op.pixel_bytes - tile.column - i;
            if (room >= kGroup) {
                __builtin_memcpy(to + i, &bytes, kGroup);
            } else if (room == 4) {
                __builtin_memcpy(to + i, &bytes, 4);
            } else {
                __builtin_memcpy(to + i, &bytes, static_cast<unsigned long>(room));
            }
        }
    }
}

inline void store_as_lanes(const TileOp& op, const Tile& tile) {
    for (std::int64_t row = 0; row < tile.m; ++row)
        __builtin_memcpy(tile.memory[op.memory] + op.rows[tile.first + row] + tile.column * 4,
                         tile.block.at + row * tile.block.stride, static_cast<unsigned long>(tile.n * 4));
}

template <class Simd>
inline void map_integers(const TileOp& op, Tile& tile) {
    switch (op.kind) {
        case TileOpKind::correct: return correct(op, tile);
        case TileOpKind::max_rows: return max_rows(op, tile);
        case TileOpKind::add:
            return with_other<Ints>(op, tile, [&](Ints x, Ints y) { return x * op.low + y * op.high + op.shift; });
        case TileOpKind::threshold:
            return each_group<Ints>(tile, [&](Ints x, std::int64_t column) {
                return plus_minus_one((x >= load_lanes<Ints>(op.integers + column)) ^ load_lanes<Ints>(op.flips + column));
            });
        case TileOpKind::count:
            return each_group<Ints>(tile, [&](Ints x, std::int64_t column) { return count_reached(op, x, column); });
        case TileOpKind::line:
            return each_group<Ints>(tile, [&](Ints x, std::int64_t column) { return count_by_line<Simd>(op, x, column); });
        default: return;
    }
}

inline void map_reals(const TileOp& op, const Tile& tile) {
    switch (op.kind) {
        case TileOpKind::affine: return affine(op, tile, true);
        case TileOpKind::affine_real: return affine(op, tile, false);
        case TileOpKind::add_real: return with_other<Reals>(op, tile, [](Reals x, Reals y) { return x + y; });
        case TileOpKind::prelu:
            return each_group<Reals>(tile, [&](Reals x, std::int64_t column) {
                return x > 0.0F ? x : load_lanes<Reals>(op.reals + column) * x;
            });
        case TileOpKind::clamp:
            return each_group<Reals>(tile, [&](Reals x, std::int64_t) {
                const Reals low = x < op.real_low ? Reals{} + op.real_low : x;
                return low > op.real_high ? Reals{} + op.real_high : low;
            });
        case TileOpKind::quantize:
            return each_group<Ints>(tile, [&](Ints lanes, std::int64_t) {
                const Reals x = reinterpret_cast<Reals>(lanes) / op.real_low;
                return code_of(x, static_cast<float>(op.low), static_cast<float>(op.high)) - op.low;
            });
        case TileOpKind::sign_real:
            return each_group<Ints>(
                tile, [](Ints lanes, std::int64_t) { return plus_minus_one(reinterpret_cast<Reals>(lanes) >= 0.0F); });
        default: return;
    }
}

template <class Simd>
inline void store(const TileOp& op, const Tile& tile) {
    switch (op.kind) {
        case TileOpKind::store_lanes: return store_as_lanes(op, tile);
        case TileOpKind::store_bits: return store_bits<Simd>(op, tile);
        case TileOpKind::store_planes: return store_planes<Simd>(op, tile);
        case TileOpKind::store_bytes: return store_bytes(op, tile);
        default: return;
    }
}

// Whether two ops are thresholds whose codes go straight to bits.
inline bool ends_in_bits(const TileOp& op, const TileOp& next) {
    return (op.kind == TileOpKind::threshold && next.kind == TileOpKind::store_bits) ||
           (op.kind == TileOpKind::count && next.kind == TileOpKind::store_planes && next.count <= 4);
}

template <class Simd>
void tile_ops(const TileOp* ops, std::int64_t count, const Tile& whole) {
    constexpr std::int64_t kRows = 16;  // rows at a time: 32 KiB at 512 columns
    std::int64_t unit = 1;
    for (std::int64_t i = 0; i < count; ++i)
        if (ops[i].kind == TileOpKind::max_rows) unit = ops[i].high * ops[i].width;
    const std::int64_t rows = unit > kRows ? unit : kRows / unit * unit;
    for (std::int64_t row = 0; row < whole.m; row += rows) {
        Tile tile = whole;
        tile.block.at += row * tile.block.stride;
        tile.first += row;
        tile.m = whole.m - row < rows ? whole.m - row : rows;
        for (std::int64_t i = 0; i < count; ++i) {
            if (i + 2 == count && ends_in_bits(ops[i], ops[i + 1])) {
                planes_by_threshold<Simd>(ops[i], ops[i + 1], tile);
                break;
            }
            map_integers<Simd>(ops[i], tile);
            map_reals(ops[i], tile);
            store<Simd>(ops[i], tile);
        }
    }
}

}  // namespace
}  // namespace featherbit
