// What becomes of a block of sums: correction, pooling, scaling, thresholds, codes, and how they are stored.
//
// The ops run over a few rows at a time, so that the lanes stay in the first-level cache from the first op to the last.
#pragma once

#include "line.h"

namespace featherbit {
namespace {

// What a comparison gives, all bits or none, as +1 or -1.
inline Ints plus_minus_one(Ints holds) { return -(holds * 2 + 1); }

inline void correct(const TileOp& op, const Tile& tile) {
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int64_t kind = op.row_class[tile.first + row];
        if (kind == 0) continue;
        std::int32_t* at = tile.block.at + row * tile.block.stride;
        const std::int32_t* add = op.integers + kind * op.integers_stride + tile.column;
        for (std::int64_t i = 0; i < tile.n; i += kVector)
            store_lanes(at + i, load_lanes<Ints>(at + i) + load_lanes<Ints>(add + i));
    }
}

inline void max_of_four(const std::int32_t* from, std::int64_t right, std::int64_t below, std::int64_t n, std::int32_t* to) {
    for (std::int64_t i = 0; i < n; i += kVector) {
        const Ints top = larger(load_lanes<Ints>(from + i), load_lanes<Ints>(from + right + i));
        const Ints bottom = larger(load_lanes<Ints>(from + below + i), load_lanes<Ints>(from + below + right + i));
        store_lanes(to + i, larger(top, bottom));
    }
}

// Windows of a strip of rows follow each other, so a maximum is written before, or where, what is read next.
inline void max_rows(const TileOp& op, Tile& tile) {
    const std::int64_t strip = op.high * op.width, m = tile.m / strip * op.across, stride = tile.block.stride;
    for (std::int64_t out = 0; out < m; ++out) {
        const std::int64_t row = out / op.across * strip, left = out % op.across * op.count - op.shift;
        const std::int64_t begin = left < 0 ? 0 : left, end = left + op.low < op.width ? left + op.low : op.width;
        const std::int32_t* corner = tile.block.at + (row + begin) * stride;
        std::int32_t* to = tile.block.at + out * stride;
        if (op.low == 2 && op.high == 2) {
            max_of_four(corner, stride, op.width * stride, tile.n, to);
            continue;
        }
        for (std::int64_t i = 0; i < tile.n; i += kVector) {
            Ints most = load_lanes<Ints>(corner + i);
            for (std::int64_t y = 0; y < op.high; ++y)
                for (std::int64_t x = 0; x < end - begin; ++x)
                    most = larger(most, load_lanes<Ints>(corner + (y * op.width + x) * stride + i));
            store_lanes(to + i, most);
        }
    }
    tile.first = tile.first / strip * op.across;
    tile.m = m;
}

inline Ints code_of(Reals x, float low, float high) {
    // A NaN fails the comparison and becomes the lowest code.
    const Reals at_least = x > low ? x : Reals{} + low;
    return Rounded(at_least < high ? at_least : Reals{} + high).integer();
}

// The loads are apart: a gather is no faster than they are where there is one, and not every ISA has it.
inline Ints look_up(const TileOp& op, Reals x) {
    const auto half = static_cast<std::int32_t>(op.count / 2);
    alignas(64) std::int32_t places[kVector];
    alignas(64) float entries[kVector];
    store_lanes(places, code_of(x / op.real_low, static_cast<float>(-half), static_cast<float>(half - 1)) + half);
    for (int i = 0; i < kVector; ++i) entries[i] = op.reals[places[i]];
    return load_lanes<Ints>(entries);
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

// Write the bits of one row; the last column also clears the rest of its 64-bit word.
template <class Simd, class Lanes>
inline void write_bits(char* to, const Tile& tile, Lanes lanes_of) {
    std::int64_t i = 0;
    for (; i < tile.n; i += kGroup) {
        alignas(64) std::int32_t lanes[kGroup];
        for (int part = 0; part < kGroup; part += kVector) store_lanes(lanes + part, lanes_of(i + part));
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
// The same for the signs of reals: Planes 0.
template <class Simd, int Planes>
inline void planes_by_threshold(const TileOp& op, const TileOp& to, const Tile& tile) {
    constexpr int kStored = Planes == 0 ? 1 : Planes;
    const auto* flips = reinterpret_cast<const std::uint16_t*>(op.flip_bits);
    for (std::int64_t row = 0; row < tile.m; ++row) {
        const std::int32_t* from = tile.block.at + row * tile.block.stride;
        auto* at = reinterpret_cast<std::uint16_t*>(tile.memory[to.memory] + to.rows[tile.first + row]);
        const std::int64_t plane_parts = to.plane_bytes / 2;
        std::int64_t i = 0;
        for (; i < tile.n; i += kGroup) {
            const std::int64_t column = tile.column + i, part = column / kGroup;
            unsigned bits[kStored];
            for (int plane = 0; plane < Planes; ++plane) bits[plane] = flips[part];
            for (std::int64_t t = 1; t <= (Planes < 2 ? Planes : op.count); ++t) {
                const unsigned reached = Simd::at_least(from + i, op.integers + (t - 1) * op.integers_stride + column);
                for (int plane = 0; plane < Planes; ++plane) bits[plane] ^= t % (1 << plane) == 0 ? reached : 0;
            }
            if constexpr (Planes == 0) bits[0] = Simd::not_negative(reinterpret_cast<const float*>(from + i));
            const unsigned mask = tile.n - i >= kGroup ? 0xFFFFu : (1u << (tile.n - i)) - 1u;
            for (int plane = 0; plane < kStored; ++plane)
                at[plane * plane_parts + part] = static_cast<std::uint16_t>(bits[plane] & mask);
        }
        for (; tile.last_column && (tile.column + i) % kWordBits != 0; i += kGroup)
            for (int plane = 0; plane < kStored; ++plane) at[plane * plane_parts + (tile.column + i) / kGroup] = 0;
    }
}

template <class Simd>
inline void planes_by_threshold(const TileOp& op, const TileOp& to, const Tile& tile) {
    if (op.kind == TileOpKind::sign_real) return planes_by_threshold<Simd, 0>(op, to, tile);
    switch (to.count) {
        case 1: return planes_by_threshold<Simd, 1>(op, to, tile);
        case 2: return planes_by_threshold<Simd, 2>(op, to, tile);
        case 3: return planes_by_threshold<Simd, 3>(op, to, tile);
        default: return planes_by_threshold<Simd, 4>(op, to, tile);
    }
}

// Lanes of a value in memory; where the columns end before (not Full), lanes past them are zero and not written.
template <bool Full>
inline Ints other_lanes(const char* from, std::int64_t count) {
    if constexpr (Full) return load_lanes<Ints>(from);
    Ints lanes = {};
    __builtin_memcpy(&lanes, from, static_cast<unsigned long>(count * 4));
    return lanes;
}

template <bool Full>
inline void store_some_lanes(char* to, std::int64_t count, Ints x) {
    if constexpr (Full) return store_lanes(to, x);
    __builtin_memcpy(to, &x, static_cast<unsigned long>(count * 4));
}

// Bytes past the last column, up to whole quads, are of no account: their weights are zero.
template <class Simd, bool Full>
inline void store_some_bytes(char* to, std::int64_t room, Ints x) {
    const Bytes bytes = Simd::low_bytes(x);
    if (Full || room >= kVector) {
        __builtin_memcpy(to, &bytes, kVector);
    } else if (room == 4) {
        __builtin_memcpy(to, &bytes, 4);
    } else {
        __builtin_memcpy(to, &bytes, static_cast<unsigned long>(room));
    }
}

inline bool is_map(TileOpKind kind) {
    return kind != TileOpKind::correct && kind != TileOpKind::max_rows && kind != TileOpKind::store_bits &&
           kind != TileOpKind::store_planes;
}

// Apply a chain of ops to a vector of columns of `Rows` rows in registers: parameters are loaded once for all the rows. The
// block is written back (`keep`) only where an op outside the chain reads it.
template <class Simd, int Rows, bool Full>
inline void map_lanes(const TileOp* ops, std::int64_t count, bool keep, const Tile& tile, std::int64_t row,
                      std::int64_t i) {
    const std::int64_t column = tile.column + i, valid = tile.n - i;
    std::int32_t* at = tile.block.at + row * tile.block.stride + i;
    Ints x[Rows];
    const auto each = [&](auto f) { FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) x[r] = f(x[r], r); };
    FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) x[r] = load_lanes<Ints>(at + r * tile.block.stride);
    for (const TileOp* op = ops; op != ops + count; ++op) {
        const auto reals = [&] { return load_lanes<Reals>(op->reals + column); };
        const auto more_reals = [&] { return load_lanes<Reals>(op->more_reals + column); };
        const bool touches = op->rows != nullptr;
        const std::int64_t width = op->kind == TileOpKind::store_bytes ? 1 : 4;
        char* const to = touches ? tile.memory[op->memory] + column * width : nullptr;
        const std::int64_t* rows = touches ? op->rows + tile.first + row : nullptr;
        const auto place = [&](int r) { return to + rows[r]; };
        switch (op->kind) {
            case TileOpKind::affine:
            case TileOpKind::affine_real: {
                const Reals multiplier = reals(), addend = more_reals();
                if (op->kind == TileOpKind::affine) each([&](Ints v, int) { return reinterpret_cast<Ints>(to_reals(v)); });
                if (op->fused) {
                    each([&](Ints v, int) {
                        return reinterpret_cast<Ints>(Simd::fused(reinterpret_cast<Reals>(v), multiplier, addend));
                    });
                } else {
                    each([&](Ints v, int) {
                        return reinterpret_cast<Ints>(reinterpret_cast<Reals>(v) * multiplier + addend);
                    });
                }
                break;
            }
            case TileOpKind::add:
                each([&](Ints v, int r) { return v * op->low + other_lanes<Full>(place(r), valid) * op->high + op->shift; });
                break;
            case TileOpKind::add_real:
                each([&](Ints v, int r) {
                    return reinterpret_cast<Ints>(reinterpret_cast<Reals>(v) +
                                                  reinterpret_cast<Reals>(other_lanes<Full>(place(r), valid)));
                });
                break;
            case TileOpKind::mul_real:
                each([&](Ints v, int r) {
                    return reinterpret_cast<Ints>(reinterpret_cast<Reals>(v) *
                                                  reinterpret_cast<Reals>(other_lanes<Full>(place(r), valid)));
                });
                break;
            case TileOpKind::prelu: {
                const Reals slope = reals();
                each([&](Ints lanes, int) {
                    const Reals v = reinterpret_cast<Reals>(lanes);
                    return reinterpret_cast<Ints>(v > 0.0F ? v : slope * v);
                });
                break;
            }
            case TileOpKind::clamp:
                each([&](Ints lanes, int) {
                    const Reals v = reinterpret_cast<Reals>(lanes);
                    const Reals low = v < op->real_low ? Reals{} + op->real_low : v;
                    return reinterpret_cast<Ints>(low > op->real_high ? Reals{} + op->real_high : low);
                });
                break;
            case TileOpKind::threshold: {
                const Ints thresholds = load_lanes<Ints>(op->integers + column), flips = load_lanes<Ints>(op->flips + column);
                each([&](Ints v, int) { return plus_minus_one((v >= thresholds) ^ flips); });
                break;
            }
            case TileOpKind::count: each([&](Ints v, int) { return count_reached(*op, v, column); }); break;
            case TileOpKind::line: count_by_line<Simd>(*op, column, x); break;
            case TileOpKind::quantize:
                each([&](Ints lanes, int) {
                    const Reals v = reinterpret_cast<Reals>(lanes) / op->real_low;
                    return code_of(v, static_cast<float>(op->low), static_cast<float>(op->high)) - op->low;
                });
                break;
            case TileOpKind::sign_real:
                each([&](Ints lanes, int) { return plus_minus_one(reinterpret_cast<Reals>(lanes) >= 0.0F); });
                break;
            case TileOpKind::look_up:
                each([&](Ints lanes, int) { return look_up(*op, reinterpret_cast<Reals>(lanes)); });
                break;
            case TileOpKind::store_lanes:
                FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) store_some_lanes<Full>(place(r), valid, x[r]);
                break;
            case TileOpKind::store_bytes:
                FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r)
                    store_some_bytes<Simd, Full>(place(r), op->pixel_bytes - column, x[r] + op->shift);
                break;
            default: break;  // no map
        }
    }
    if (keep) FEATHERBIT_UNROLL for (int r = 0; r < Rows; ++r) store_lanes(at + r * tile.block.stride, x[r]);
}

template <class Simd>
void map_tile(const TileOp* ops, std::int64_t count, bool keep, const Tile& tile) {
    constexpr int kRows = kVector == kGroup ? 8 : 4;
    const std::int64_t full = tile.n / kVector * kVector;
    std::int64_t row = 0;
    for (; row + kRows <= tile.m; row += kRows) {
        for (std::int64_t i = 0; i < full; i += kVector) map_lanes<Simd, kRows, true>(ops, count, keep, tile, row, i);
        if (full < tile.n) map_lanes<Simd, kRows, false>(ops, count, keep, tile, row, full);
    }
    for (; row < tile.m; ++row) {
        for (std::int64_t i = 0; i < full; i += kVector) map_lanes<Simd, 1, true>(ops, count, keep, tile, row, i);
        if (full < tile.n) map_lanes<Simd, 1, false>(ops, count, keep, tile, row, full);
    }
}

template <class Simd>
inline void apply(const TileOp& op, Tile& tile) {
    switch (op.kind) {
        case TileOpKind::correct: return correct(op, tile);
        case TileOpKind::max_rows: return max_rows(op, tile);
        case TileOpKind::store_bits: return store_bits<Simd>(op, tile);
        case TileOpKind::store_planes: return store_planes<Simd>(op, tile);
        default: return;  // a map
    }
}

// Whether two ops are thresholds whose codes go straight to bits.
inline bool ends_in_bits(const TileOp& op, const TileOp& next) {
    const bool one_bit = op.kind == TileOpKind::threshold || op.kind == TileOpKind::sign_real;
    return (one_bit && next.kind == TileOpKind::store_bits) ||
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
        for (std::int64_t i = 0; i < count;) {
            if (i + 2 == count && ends_in_bits(ops[i], ops[i + 1])) {
                planes_by_threshold<Simd>(ops[i], ops[i + 1], tile);
                break;
            }
            std::int64_t end = i;
            while (end < count && is_map(ops[end].kind) && !(end + 2 == count && ends_in_bits(ops[end], ops[end + 1]))) ++end;
            if (end > i) {
                map_tile<Simd>(ops + i, end - i, end < count, tile);
                i = end;
            } else {
                apply<Simd>(ops[i++], tile);
            }
        }
    }
}

}  // namespace
}  // namespace featherbit
