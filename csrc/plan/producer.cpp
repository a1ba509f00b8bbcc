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

void Planar::fill(char* const* memory, const Part& part, const Block& block) const {
    const char* image = memory[source_.memory];
    for (std::int64_t channel = 0; channel < part.n; ++channel) {
        std::int32_t* to = block.at + channel;
        const std::int64_t offset = channel * channel_bytes_;
        for (std::int64_t i = 0; i < part.m; ++i, to += block.stride) {
            const char* from = image + at(rows_, part.first + i) + offset;
            if (source_.form == Form::bytes) {
                *to = static_cast<unsigned char>(*from);
            } else {
                std::memcpy(to, from, 4);
            }
        }
    }
}

bool Planar::takes_over(const std::vector<TileOp>& ops, const std::vector<std::int64_t>&) {
    const bool words = ops.size() == 1 && ops[0].kind == TileOpKind::store_bytes && ops[0].pixel_bytes == 4;
    if (!words || source_.form != Form::bytes || source_.sign) return false;
    store_ = ops.data();
    return true;
}

void Planar::store(char* const* memory, const Part& part) const {
    const auto* image = reinterpret_cast<const unsigned char*>(memory[source_.memory]);
    for (std::int64_t i = 0; i < part.m; ++i) {
        const unsigned char* from = image + at(rows_, part.first + i);
        std::uint32_t word = 0;
        for (std::int64_t channel = 0; channel < part.n; ++channel)
            word |= std::uint32_t{from[channel * channel_bytes_]} << (8 * channel);
        std::memcpy(memory[store_->memory] + store_->rows[part.first + i], &word, 4);
    }
}

void Planar::repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) {
    repeat_row(rows_, rows, at(row_bytes, source_.memory));
}

Embedding::Embedding(int memory, std::int64_t rows, const std::uint8_t* codes, std::int64_t tokens, std::int64_t n,
                     bool sign)
    : source_{-1, Form::bytes, sign}, memory_(memory), n_(n), codes_(codes, codes + tokens * n) {
    for (std::int64_t i = 0; i < rows; ++i) rows_.push_back(4 * i);
    if (sign)
        for (std::uint8_t& code : codes_) code = static_cast<std::uint8_t>(2 * code);
}

void Embedding::fill(char* const* memory, const Part& part, const Block& block) const {
    for (std::int64_t i = 0; i < part.m; ++i) {
        std::int32_t token;
        std::memcpy(&token, memory[memory_] + at(rows_, part.first + i), 4);
        const auto* row = reinterpret_cast<const char*>(codes_.data()) + token * n_;
        source_.read(row, part.column, part.n, block.at + i * block.stride);
    }
}

void Embedding::repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) {
    repeat_row(rows_, rows, at(row_bytes, memory_));
}

Pool::Pool(const KernelTable* table, Source source, PoolKind kind, std::vector<std::int64_t> windows,
           std::int64_t places, std::int32_t zero_point)
    : table_(table), source_(source), windows_(std::move(windows)) {
    pool_.places = places;
    pool_.kind = kind;
    pool_.bytes = source.form == Form::bytes;
    pool_.zero_point = zero_point + (pool_.bytes && source.sign ? 1 : 0);
}

void Pool::fill(char* const* memory, const Part& part, const Block& block) const {
    Windows windows = pool_;
    windows.image = memory[source_.memory];
    windows.windows = windows_.data() + part.first * windows.places;
    windows.m = part.m;
    const bool plain = source_.form == Form::lanes ||
                       (source_.form == Form::bytes && (!source_.sign || windows.kind == PoolKind::sum));
    if (!plain) return fill_unpacked(windows, part, block);
    windows.image += part.column * (windows.bytes ? 1 : 4);
    table_->pool(windows, part.n, block);
}

// Bits and bit-planes: every place is unpacked into lanes first.
void Pool::fill_unpacked(const Windows& windows, const Part& part, const Block& block) const {
    constexpr std::int64_t kColumns = 64;
    std::int32_t lanes[kColumns];
    for (std::int64_t i = 0; i < part.m; ++i)
        for (std::int64_t column = 0; column < part.n; column += kColumns) {
            const std::int64_t n = std::min(kColumns, part.n - column);
            std::int32_t* to = block.at + i * block.stride + column;
            bool first = true;
            std::fill_n(to, n, 0);
            for (std::int64_t place = 0; place < windows.places; ++place) {
                const std::int64_t offset = windows.windows[i * windows.places + place];
                if (offset < 0) continue;
                source_.read(windows.image + offset, part.column + column, n, lanes);
                for (std::int64_t k = 0; k < n; ++k) {
                    const std::int32_t before = first ? (windows.kind == PoolKind::sum ? 0 : lanes[k]) : to[k];
                    to[k] = windows.kind == PoolKind::sum ? before + lanes[k] - windows.zero_point
                                                          : std::max(before, lanes[k]);
                }
                first = false;
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
