#include "producer.h"

#include <algorithm>
#include <cstring>

namespace featherbit {

void repeat_row(std::vector<std::int64_t>& rows, std::int64_t count, std::int64_t row_bytes) {
    const std::int64_t first = rows.at(0);
    rows.resize(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) rows[static_cast<std::size_t>(i)] = first + i * row_bytes;
}

namespace {

std::int32_t bit_at(const char* from, std::int64_t bit) {
    return static_cast<std::int32_t>(static_cast<unsigned char>(from[bit / 8]) >> (bit % 8) & 1);
}

std::int64_t at(const std::vector<std::int64_t>& table, std::int64_t index) {
    return table[static_cast<std::size_t>(index)];
}

}  // namespace

void Source::read(const char* pixel, std::int64_t column, std::int64_t n, std::int32_t* lanes) const {
    if (form == Form::lanes) {
        std::memcpy(lanes, pixel + column * 4, static_cast<std::size_t>(n * 4));
    } else if (form == Form::bytes) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(pixel) + column;
        for (std::int64_t i = 0; i < n; ++i) lanes[i] = bytes[i];
    } else {
        for (std::int64_t i = 0; i < n; ++i) lanes[i] = bit_at(pixel, column + i);
        for (std::int64_t plane = 1; plane < planes; ++plane)
            for (std::int64_t i = 0; i < n; ++i)
                lanes[i] |= bit_at(pixel + plane * plane_bytes, column + i) << plane;
    }
    if (sign)
        for (std::int64_t i = 0; i < n; ++i) lanes[i] = signed_value(lanes[i]);
}

std::int32_t Source::read_one(const char* image, std::int64_t location) const {
    std::int32_t value = 0;
    if (form == Form::lanes) {
        std::memcpy(&value, image + location, 4);
    } else if (form == Form::bytes) {
        value = static_cast<unsigned char>(image[location]);
    } else {
        for (std::int64_t plane = 0; plane < planes; ++plane)
            value |= bit_at(image + plane * plane_bytes, location) << plane;
    }
    return sign ? signed_value(value) : value;
}

void Load::fill(char* const* memory, const Part& part, const Block& block) const {
    for (std::int64_t i = 0; i < part.m; ++i)
        source_.read(memory[source_.memory] + at(rows_, part.first + i), part.column, part.n,
                     block.at + i * block.stride);
}

void Load::repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) {
    repeat_row(rows_, rows, at(row_bytes, source_.memory));
}

void Concat::fill(char* const* memory, const Part& part, const Block& block) const {
    std::int64_t column = 0;
    for (const Input& input : inputs_) {
        for (std::int64_t i = 0; i < part.m; ++i)
            input.source.read(memory[input.source.memory] + at(input.rows, part.first + i), 0, input.n,
                              block.at + i * block.stride + column);
        column += input.n;
    }
}

void Concat::repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) {
    for (Input& input : inputs_) repeat_row(input.rows, rows, at(row_bytes, input.source.memory));
}

void Rearrange::fill(char* const* memory, const Part& part, const Block& block) const {
    const bool by_image = row_bytes_ != 0;
    for (std::int64_t i = 0; i < part.m; ++i) {
        const std::int64_t row = part.first + i;
        const char* image = memory[source_.memory] + (by_image ? row * row_bytes_ : 0);
        const std::int64_t* from = locations_.data() + (by_image ? 0 : row * n_);
        std::int32_t* to = block.at + i * block.stride;
        if (source_.form == Form::bytes && !source_.sign) {
            for (std::int64_t k = 0; k < n_; ++k) to[k] = static_cast<unsigned char>(image[from[k]]);
        } else {
            for (std::int64_t k = 0; k < n_; ++k) to[k] = source_.read_one(image, from[k]);
        }
    }
}

void Rearrange::repeat_rows(std::int64_t, const std::vector<std::int64_t>& row_bytes) {
    row_bytes_ = at(row_bytes, source_.memory);
}

namespace {

template <class T, class Join>
void join(const Source& source, const char* image, const std::int64_t* window, std::int64_t places, const Part& part,
          std::int32_t* to, Join join_two) {
    std::int32_t lanes[256];
    for (std::int64_t column = 0; column < part.n; column += 256) {
        const std::int64_t n = std::min<std::int64_t>(256, part.n - column);
        bool first = true;
        for (std::int64_t place = 0; place < places; ++place) {
            if (window[place] < 0) continue;
            source.read(image + window[place], part.column + column, n, lanes);
            for (std::int64_t i = 0; i < n; ++i) {
                T x, y;
                std::memcpy(&x, &lanes[i], 4);
                std::memcpy(&y, &to[column + i], 4);
                const T joined = join_two(first, y, x);
                std::memcpy(&to[column + i], &joined, 4);
            }
            first = false;
        }
    }
}

}  // namespace

void Pool::fill(char* const* memory, const Part& part, const Block& block) const {
    for (std::int64_t i = 0; i < part.m; ++i) {
        const std::int64_t* window = windows_.data() + (part.first + i) * places_;
        const char* image = memory[source_.memory];
        std::int32_t* to = block.at + i * block.stride;
        if (kind_ == PoolKind::sum) {
            const std::int32_t zero_point = zero_point_;
            join<std::int32_t>(source_, image, window, places_, part, to,
                               [zero_point](bool first, std::int32_t y, std::int32_t x) {
                                   return (first ? 0 : y) + x - zero_point;
                               });
        } else if (kind_ == PoolKind::max_integer) {
            join<std::int32_t>(source_, image, window, places_, part, to,
                               [](bool first, std::int32_t y, std::int32_t x) { return first || x > y ? x : y; });
        } else {  // a NaN wins, as in torch
            join<float>(source_, image, window, places_, part, to,
                        [](bool first, float y, float x) { return first || x > y || x != x ? x : y; });
        }
    }
}

void Pool::repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) {
    const std::vector<std::int64_t> window = windows_;
    windows_.clear();
    for (std::int64_t i = 0; i < rows; ++i)
        for (const std::int64_t place : window)
            windows_.push_back(place < 0 ? place : place + i * at(row_bytes, source_.memory));
}

}  // namespace featherbit
