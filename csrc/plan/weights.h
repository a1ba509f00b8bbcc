// The integer weights of a product, as a packed file holds them, and the panels made of them.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels.h"
#include "../panel.h"

namespace featherbit {

// How bit-planes b_i make a weight: the sum of 2^i (2 b_i - 1), or two's complement with a negative highest plane.
enum class Encoding { sign, twos_complement };

// Weights of `n` columns, each of `taps` filter taps of `c` channels: bit tap * c + channel of a row.
// words: [planes * n][words_per_row(taps * c)], plane 0 (all columns of it) first. Only read while a step is built.
struct Weights {
    const std::uint64_t* words = nullptr;
    std::int64_t n = 0, taps = 1, c = 0, planes = 1;
    Encoding encoding = Encoding::sign;

    std::int64_t k() const { return taps * c; }
    // What a set bit of a plane adds to the weight, less what a clear one does not.
    std::int32_t plane_value(std::int64_t plane) const;
    // `count` weights of a column from number `first` on, count <= 64.
    void read(std::int64_t column, std::int64_t first, std::int64_t count, std::int32_t* values) const;
    std::int32_t at(std::int64_t column, std::int64_t k) const;
    std::int64_t bits_set(std::int64_t plane, std::int64_t column) const;
    std::int64_t bits_set_in_tap(std::int64_t plane, std::int64_t column, std::int64_t tap) const;
    std::int64_t tap_sum(std::int64_t column, std::int64_t tap) const;
    std::int64_t sum(std::int64_t column) const;
    std::int32_t largest() const;  // no |weight| is larger
};

// One plane of columns begin .. begin + count, each tap padded to whole words: the panel of conv_u1.
AlignedArray<std::uint32_t> make_panel_bits(const Weights& weights, std::int64_t plane, std::int64_t begin,
                                            std::int64_t count);

// The same columns as int8, each tap padded to whole quads of channels: the panel of conv_u8s8; or with `half` as int4,
// each tap padded to whole pairs of quads: the panel of conv_u8s4.
AlignedArray<std::uint32_t> make_panel_bytes(const Weights& weights, std::int64_t begin, std::int64_t count, bool half);

}  // namespace featherbit
