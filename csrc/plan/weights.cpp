#include "weights.h"

#include <cstring>

namespace featherbit {
namespace {

// `count` bits of a row from bit `begin` on, count <= 64.
std::uint64_t bits_at(const std::uint64_t* row, std::int64_t begin, std::int64_t count) {
    const std::int64_t word = begin / kWordBits, shift = begin % kWordBits;
    std::uint64_t bits = row[word] >> shift;
    if (shift != 0 && shift + count > kWordBits) bits |= row[word + 1] << (kWordBits - shift);
    return count == kWordBits ? bits : bits & ((std::uint64_t{1} << count) - 1);
}

std::int64_t count_bits(const std::uint64_t* row, std::int64_t begin, std::int64_t count) {
    std::int64_t set = 0;
    for (std::int64_t i = 0; i < count; i += kWordBits)
        set += __builtin_popcountll(bits_at(row, begin + i, count - i < kWordBits ? count - i : kWordBits));
    return set;
}

template <class T>
AlignedArray<T> make_zeros(std::int64_t count) {
    AlignedArray<T> zeros = make_aligned<T>(static_cast<std::size_t>(count));
    std::memset(zeros.get(), 0, static_cast<std::size_t>(count) * sizeof(T));
    return zeros;
}

}  // namespace

std::int32_t Weights::plane_value(std::int64_t plane) const {
    const std::int32_t value = 1 << plane;
    if (encoding == Encoding::sign) return 2 * value;
    return plane == planes - 1 ? -value : value;
}

void Weights::read(std::int64_t column, std::int64_t first, std::int64_t count, std::int32_t* values) const {
    const std::int32_t clear = encoding == Encoding::sign ? 1 - (1 << planes) : 0;
    for (std::int64_t i = 0; i < count; ++i) values[i] = clear;
    for (std::int64_t plane = 0; plane < planes; ++plane) {
        const std::uint64_t bits = bits_at(words + (plane * n + column) * words_per_row(k()), first, count);
        const std::int32_t value = plane_value(plane);
        for (std::int64_t i = 0; i < count; ++i) values[i] += static_cast<std::int32_t>(bits >> i & 1u) * value;
    }
}

std::int32_t Weights::at(std::int64_t column, std::int64_t k) const {
    std::int32_t value = 0;
    read(column, k, 1, &value);
    return value;
}

std::int64_t Weights::bits_set(std::int64_t plane, std::int64_t column) const {
    return count_bits(words + (plane * n + column) * words_per_row(k()), 0, k());
}

std::int64_t Weights::bits_set_in_tap(std::int64_t plane, std::int64_t column, std::int64_t tap) const {
    return count_bits(words + (plane * n + column) * words_per_row(k()), tap * c, c);
}

std::int64_t Weights::tap_sum(std::int64_t column, std::int64_t tap) const {
    std::int64_t total = encoding == Encoding::sign ? c * (1 - (1 << planes)) : 0;
    for (std::int64_t plane = 0; plane < planes; ++plane)
        total += plane_value(plane) * bits_set_in_tap(plane, column, tap);
    return total;
}

std::int64_t Weights::sum(std::int64_t column) const {
    std::int64_t total = 0;
    for (std::int64_t tap = 0; tap < taps; ++tap) total += tap_sum(column, tap);
    return total;
}

std::int32_t Weights::largest() const {
    return encoding == Encoding::sign ? (1 << planes) - 1 : 1 << (planes - 1);
}

AlignedArray<std::uint32_t> make_panel_bits(const Weights& weights, std::int64_t plane, std::int64_t begin,
                                            std::int64_t count) {
    const std::int64_t tap_words = words_per_row(weights.c), words = weights.taps * tap_words;
    AlignedArray<std::uint32_t> panel = make_zeros<std::uint32_t>(groups_of(count) * words * 2 * kGroup);
    for (std::int64_t i = 0; i < count; ++i) {
        const std::uint64_t* row = weights.words + (plane * weights.n + begin + i) * words_per_row(weights.k());
        std::uint32_t* to = panel.get() + i / kGroup * words * 2 * kGroup + i % kGroup;
        for (std::int64_t tap = 0; tap < weights.taps; ++tap)
            for (std::int64_t w = 0; w < tap_words; ++w, to += 2 * kGroup) {
                const std::int64_t left = weights.c - w * kWordBits;
                const std::uint64_t bits =
                    bits_at(row, tap * weights.c + w * kWordBits, left < kWordBits ? left : kWordBits);
                to[0] = static_cast<std::uint32_t>(bits);
                to[kGroup] = static_cast<std::uint32_t>(bits >> 32);
            }
    }
    return panel;
}

AlignedArray<std::uint32_t> make_panel_bytes(const Weights& weights, std::int64_t begin, std::int64_t count,
                                             bool half) {
    const std::int64_t quads_in_word = half ? 2 : 1;
    const std::int64_t tap_words = ceil_div(quads_of(weights.c), quads_in_word), words = weights.taps * tap_words;
    AlignedArray<std::uint32_t> panel = make_zeros<std::uint32_t>(groups_of(count) * words * kGroup);
    std::int32_t values[kWordBits];
    for (std::int64_t i = 0; i < count; ++i) {
        std::uint32_t* column = panel.get() + i / kGroup * words * kGroup + i % kGroup;
        for (std::int64_t tap = 0; tap < weights.taps; ++tap)
            for (std::int64_t first = 0; first < weights.c; first += kWordBits) {
                const std::int64_t channels = weights.c - first < kWordBits ? weights.c - first : kWordBits;
                weights.read(begin + i, tap * weights.c + first, channels, values);
                for (std::int64_t k = 0; k < channels; ++k) {
                    const std::int64_t quad = (first + k) / 4, shift = 8 * (k % 4) + 4 * (quad % quads_in_word);
                    column[(tap * tap_words + quad / quads_in_word) * kGroup] |=
                        (static_cast<std::uint32_t>(values[k]) & (half ? 15u : 255u)) << shift;
                }
            }
    }
    return panel;
}

}  // namespace featherbit
