#include "step.h"

#include <algorithm>
#include <cstring>

namespace featherbit {
namespace {

// Lanes of a block: 160 KiB, a part of the second-level cache.
constexpr std::int64_t kBlockLanes = 40960;
constexpr std::int64_t kRowsPerThread = 16;  // fewer, and columns are split instead

// Of a column in the memory that an op reads or writes.
std::int64_t bits_of(TileOpKind kind) {
    if (kind == TileOpKind::store_bits || kind == TileOpKind::store_planes) return 1;
    return kind == TileOpKind::store_bytes ? 8 : 32;
}

}  // namespace

std::int64_t Step::block_rows() const {
    return std::max(unit(), kBlockLanes / block_stride() / unit() * unit());
}

TileOp& Step::append(TileOpKind kind) {
    ops_.emplace_back();
    ops_.back().kind = kind;
    return ops_.back();
}

// An op that reads or writes a memory.
TileOp& Step::append(TileOpKind kind, int memory, std::vector<std::int64_t> rows) {
    TileOp& op = append(kind);
    op.memory = memory;
    op.rows = keep(std::move(rows), memory).data();
    return op;
}

// values: [rows][n] at `stride`, `next` from column to column.
const std::int32_t* Step::keep(const std::int32_t* values, std::int64_t rows, std::int64_t stride, std::int64_t next) {
    auto padded_values = std::make_unique<std::int32_t[]>(static_cast<std::size_t>(rows * padded()));
    for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t i = 0; i < n_; ++i) padded_values[static_cast<std::size_t>(row * padded() + i)] = values[row * stride + i * next];
    arrays_.integers.push_back(std::move(padded_values));
    return arrays_.integers.back().get();
}

const float* Step::keep(const float* values, std::int64_t count) {
    auto padded_values = std::make_unique<float[]>(static_cast<std::size_t>(groups_of(count) * kGroup));
    std::copy(values, values + count, padded_values.get());
    arrays_.reals.push_back(std::move(padded_values));
    return arrays_.reals.back().get();
}

void Step::keep_flips(TileOp& op, const std::uint64_t* flips) {
    std::vector<std::int32_t> masks(static_cast<std::size_t>(n_));
    for (std::int64_t i = 0; i < n_; ++i)
        masks[static_cast<std::size_t>(i)] = -static_cast<std::int32_t>(flips[i / kWordBits] >> (i % kWordBits) & 1u);
    op.flips = keep(masks.data(), 1, n_, 1);
    arrays_.flips.push_back(std::make_unique<std::vector<std::uint64_t>>(flips, flips + words_per_row(n_)));
    op.flip_bits = arrays_.flips.back()->data();
}

const std::vector<std::int64_t>& Step::keep(std::vector<std::int64_t> rows, int memory) {
    arrays_.rows.push_back(std::make_unique<std::vector<std::int64_t>>(std::move(rows)));
    row_memory_.push_back(memory);
    return *arrays_.rows.back();
}

void Step::correct(const std::int32_t* corrections, std::int64_t classes, std::vector<std::uint16_t> row_class) {
    arrays_.row_class = std::move(row_class);
    TileOp& op = append(TileOpKind::correct);
    op.integers = keep(corrections, classes, n_, 1);
    op.integers_stride = padded();
    op.row_class = arrays_.row_class.data();
}

void Step::max_rows(std::int64_t height, std::int64_t width, std::int64_t row_pixels, std::int64_t stride,
                    std::int64_t before, std::int64_t across) {
    TileOp& op = append(TileOpKind::max_rows);
    op.high = static_cast<std::int32_t>(height);
    op.low = static_cast<std::int32_t>(width);
    op.width = row_pixels;
    op.count = stride;
    op.shift = static_cast<std::int32_t>(before);
    op.across = across;
    unit_ = height * row_pixels;
}

void Step::affine(const float* multiplier, const float* addend, bool fused, bool from_integers) {
    TileOp& op = append(from_integers ? TileOpKind::affine : TileOpKind::affine_real);
    op.reals = keep(multiplier);
    op.more_reals = keep(addend);
    op.fused = fused;
}

void Step::add(int memory, std::vector<std::int64_t> rows, std::int32_t mine, std::int32_t other, std::int32_t shift) {
    TileOp& op = append(TileOpKind::add, memory, std::move(rows));
    op.low = mine;
    op.high = other;
    op.shift = shift;
}

void Step::add_real(int memory, std::vector<std::int64_t> rows) {
    append(TileOpKind::add_real, memory, std::move(rows));
}

void Step::mul_real(int memory, std::vector<std::int64_t> rows) {
    append(TileOpKind::mul_real, memory, std::move(rows));
}

void Step::prelu(const float* slope) { append(TileOpKind::prelu).reals = keep(slope); }

void Step::clamp(float low, float high) {
    TileOp& op = append(TileOpKind::clamp);
    op.real_low = low;
    op.real_high = high;
}

void Step::threshold(const std::int32_t* thresholds, const std::uint64_t* flips) {
    TileOp& op = append(TileOpKind::threshold);
    op.integers = keep(thresholds, 1, n_, 1);
    op.count = 1;
    keep_flips(op, flips);
}

void Step::count(const std::int32_t* thresholds, std::int64_t levels, const std::uint64_t* flips) {
    TileOp& op = append(TileOpKind::count);
    op.integers = keep(thresholds, levels, 1, levels);
    op.integers_stride = padded();
    op.count = levels;
    keep_flips(op, flips);
}

void Step::count_by_line(const std::int32_t* thresholds, std::int64_t levels, const std::uint64_t* flips,
                         const float* multiplier, const float* addend, float slack) {
    count(thresholds, levels, flips);
    ops_.back().kind = TileOpKind::line;
    ops_.back().reals = keep(multiplier);
    ops_.back().more_reals = keep(addend);
    ops_.back().real_low = slack;
}

void Step::quantize(float step, std::int32_t low, std::int32_t high) {
    TileOp& op = append(TileOpKind::quantize);
    op.real_low = step;
    op.low = low;
    op.high = high;
}

void Step::sign_real() { append(TileOpKind::sign_real); }

void Step::look_up(const float* table, std::int64_t entries, float step) {
    TileOp& op = append(TileOpKind::look_up);
    op.reals = keep(table, entries);
    op.count = entries;
    op.real_low = step;
}

void Step::store(Form form, int memory, std::vector<std::int64_t> rows, std::int64_t planes, std::int64_t plane_bytes,
                 std::int64_t pixel_bytes, std::int32_t shift) {
    constexpr TileOpKind kinds[] = {TileOpKind::store_bits, TileOpKind::store_planes, TileOpKind::store_bytes,
                                    TileOpKind::store_lanes};
    TileOp& op = append(kinds[static_cast<int>(form)], memory, std::move(rows));
    op.count = planes;
    op.plane_bytes = plane_bytes;
    op.pixel_bytes = pixel_bytes;
    op.shift = shift;
}

bool Step::writes(int memory) const {
    const auto stores = [&](const TileOp& op) { return op.kind >= TileOpKind::store_lanes && op.memory == memory; };
    return std::any_of(ops_.begin(), ops_.end(), stores) ||
           std::any_of(borders_.begin(), borders_.end(), [&](const Border& border) { return border.memory == memory; });
}

void Step::finish(std::int64_t tile_images, const std::vector<std::int64_t>& row_bytes) {
    if (rows_ == 1) repeat_rows(tile_images, row_bytes);
    taken_over_ = producer_->takes_over(ops_, row_bytes);
}

// Rows are images: every table has one row for each.
void Step::repeat_rows(std::int64_t tile_images, const std::vector<std::int64_t>& row_bytes) {
    if (!arrays_.row_class.empty()) arrays_.row_class.resize(static_cast<std::size_t>(tile_images), arrays_.row_class[0]);
    for (TileOp& op : ops_) op.row_class = arrays_.row_class.data();
    producer_->repeat_rows(tile_images, row_bytes);
    for (std::size_t i = 0; i < arrays_.rows.size(); ++i) {
        const std::int64_t* before = arrays_.rows[i]->data();
        repeat_row(*arrays_.rows[i], tile_images, row_bytes[static_cast<std::size_t>(row_memory_[i])]);
        for (TileOp& op : ops_)
            if (op.rows == before) op.rows = arrays_.rows[i]->data();
    }
}

void Step::write_borders(char* const* memory, const std::vector<std::int64_t>& row_bytes, std::int64_t images) const {
    for (const Border& border : borders_)
        for (std::int64_t image = 0; image < images; ++image) {
            char* to = memory[border.memory] + image * row_bytes[static_cast<std::size_t>(border.memory)];
            for (const BorderRun& run : border.runs)
                std::memset(to + run.begin, border.value, static_cast<std::size_t>(run.bytes));
        }
}

// Ask for the lines that the ops of these rows will read and write. What follows computes for long before it needs them;
// between two runs of a network its weights have pushed them out of the nearer caches.
void Step::prefetch(char* const* memory, const Part& part) const {
    constexpr std::int64_t kLine = 64;
    std::int64_t first = part.first, m = part.m;
    for (const TileOp& op : ops_) {
        if (op.kind == TileOpKind::max_rows) {
            const std::int64_t strip = op.high * op.width;
            first = first / strip * op.across;
            m = m / strip * op.across;
        }
        if (op.rows == nullptr) continue;
        const std::int64_t begin = bits_of(op.kind) * part.column / 8, bytes = bits_of(op.kind) * part.n / 8;
        const std::int64_t planes = op.kind == TileOpKind::store_planes ? op.count : 1;
        for (std::int64_t plane = 0; plane < planes; ++plane) {
            const char* from = memory[op.memory] + plane * op.plane_bytes + begin;
            for (std::int64_t row = first; row < first + m; ++row)
                for (std::int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(from + op.rows[row] + at, 1, 2);
        }
    }
}

void Step::run_rows(char* const* memory, const Part& part, Scratch& scratch) const {
    if (taken_over_) return producer_->store(memory, part);
    const Block block{scratch.lanes.get(), block_stride()};
    // Blocks of nearly equal size: each streams all the weights, whether it has many rows or few.
    const std::int64_t blocks = ceil_div(part.m, block_rows());
    const std::int64_t size = ceil_div(ceil_div(part.m, blocks), unit()) * unit();
    for (std::int64_t row = 0; row < part.m; row += size) {
        const Part rows{part.first + row, std::min(size, part.m - row), part.column, part.n};
        prefetch(memory, rows);
        producer_->fill(memory, rows, block);
        for (std::int64_t i = 0; part.n % kGroup != 0 && i < rows.m; ++i)  // lanes past the columns hold a number
            for (std::int64_t past = part.n; past % kGroup != 0; ++past) block.at[i * block.stride + past] = 0;
        const Tile tile{block, rows.first, rows.m, part.column, part.n, part.column + part.n == n_, memory};
        table_->tile(ops_.data(), static_cast<std::int64_t>(ops_.size()), tile);
    }
}

void Step::run(char* const* memory, const std::vector<std::int64_t>& row_bytes, std::int64_t images, int part, int parts,
               Scratch& scratch) const {
    const std::int64_t calls = rows_ == 1 ? 1 : images, rows = rows_ == 1 ? images : rows_;
    Range row_range{0, rows}, column_range{0, n_};
    if (rows < kRowsPerThread * parts && producer_->splits_columns()) {
        column_range = split(n_, kWordBits, parts, part);
    } else {
        row_range = split(rows, unit(), parts, part);
    }
    const Part mine{row_range.begin, row_range.end - row_range.begin, column_range.begin,
                    column_range.end - column_range.begin};
    std::copy(memory, memory + row_bytes.size(), scratch.memory.begin());
    for (std::int64_t call = 0; call < calls; ++call) {
        if (part == 0) write_borders(scratch.memory.data(), row_bytes, rows_ == 1 ? images : 1);
        if (mine.m > 0 && mine.n > 0) run_rows(scratch.memory.data(), mine, scratch);
        for (std::size_t i = 0; i < row_bytes.size(); ++i) scratch.memory[i] += row_bytes[i];
    }
}

}  // namespace featherbit
