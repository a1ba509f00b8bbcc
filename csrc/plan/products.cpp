// The two producers that multiply.
#include <algorithm>
#include <cstring>

#include "producer.h"

namespace featherbit {
namespace {

std::int32_t saturate(std::int64_t value) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, INT32_MIN, INT32_MAX));
}

// Whether two products of bytes and weights may pass 16 bits.
bool is_wide(std::int64_t largest_byte, std::int64_t largest_weight) { return 2 * largest_byte * largest_weight > 32767; }

// Whether weights go into half bytes. Of dense layers, which for few rows take as long as it takes to read the weights:
// where these fit, where 16 times each sum does, and where that does not make the products wide at a price.
bool half_bytes(const KernelTable* table, Form kernel, const Activations& activations, const Weights& weights,
                std::int64_t groups) {
    return kernel == Form::bytes && groups == 1 && weights.taps == 1 && weights.largest() <= 8 &&
           std::int64_t{activations.largest} * 128 * weights.c <= INT32_MAX &&
           (table->wide_is_free || !is_wide(activations.largest, 128));
}

}  // namespace

DenseProduct::DenseProduct(const KernelTable* table, int memory, const Weights& weights, bool bytes,
                           std::int64_t zero_point)
    : table_(table), memory_(memory), product_{table, weights.n, weights.k()} {
    if (bytes) {
        panel8_ = make_panel_u8(weights.words, weights.n, weights.k());
        product_.panel8 = panel8_.get();
        weight_bytes_ = groups_of(weights.n) * quads_of(weights.k()) * 8;
    } else {
        panel1_ = make_panel_u1(weights.words, weights.n, weights.k());
        product_.panel1 = panel1_.get();
        weight_bytes_ = groups_of(weights.n) * words_per_row(weights.k()) * 2 * kGroup * 4;
    }
    // sum (a - zero_point) * w = sum a * w - zero_point * sum w: the second term is a constant of the column.
    for (std::int64_t i = 0; i < weights.n; ++i) offset_.push_back(saturate(zero_point * weights.sum(i)));
}

const void* DenseProduct::row(char* const* memory, std::int64_t first) const {
    return memory[memory_] + first * row_bytes_;
}

void DenseProduct::fill(char* const* memory, const Part& part, const Block& block) const {
    Sink sink;
    sink.acc = block.at;
    sink.acc_stride = block.stride;
    product_.columns(row(memory, part.first), part.m, sink, part.column, part.column + part.n);
    if (panel8_ == nullptr) return;
    for (std::int64_t i = 0; i < part.m; ++i)
        for (std::int64_t k = 0; k < part.n; ++k)
            block.at[i * block.stride + k] -= offset_[static_cast<std::size_t>(part.column + k)];
}

bool DenseProduct::takes_over(const std::vector<TileOp>& ops, const std::vector<std::int64_t>& row_bytes) {
    if (ops.size() != 2 || ops[0].kind != TileOpKind::threshold || ops[1].kind != TileOpKind::store_bits) return false;
    ops_ = ops.data();
    folded_.assign(static_cast<std::size_t>(groups_of(product_.n) * kGroup), 0);
    // The extremes mean always and never, and still do: a zero point shifts them by 2^24 at most, no sum passes 2^25.
    for (std::size_t i = 0; i < offset_.size(); ++i)
        folded_[i] = saturate(std::int64_t{ops_[0].integers[i]} + offset_[i]);
    stored_row_bytes_ = row_bytes[static_cast<std::size_t>(ops_[1].memory)];
    return true;
}

void DenseProduct::store(char* const* memory, const Part& part) const {
    char* to = memory[ops_[1].memory] + ops_[1].rows[part.first];
    Sink sink;
    sink.thresholds = folded_.data() + part.column;
    sink.flips = ops_[0].flip_bits + part.column / kWordBits;
    sink.bits = reinterpret_cast<std::uint64_t*>(to) + part.column / kWordBits;
    sink.bits_stride = stored_row_bytes_ / 8;
    product_.columns(row(memory, part.first), part.m, sink, part.column, part.column + part.n);
}

void DenseProduct::repeat_rows(std::int64_t, const std::vector<std::int64_t>& row_bytes) {
    row_bytes_ = row_bytes[static_cast<std::size_t>(memory_)];
    product_.stride = panel1_ != nullptr ? row_bytes_ / 8 : row_bytes_;
}

GatherProduct::GatherProduct(const KernelTable* table, Form kernel, Activations activations, const Weights& weights,
                             std::int64_t groups, const Padding& padding)
    : table_(table),
      kernel_(kernel),
      activations_(std::move(activations)),
      groups_(kernel == Form::lanes ? 1 : groups),
      n_(weights.n),
      group_n_(weights.n / groups_),
      half_(half_bytes(table, kernel, activations_, weights, groups)),
      wide_(is_wide(activations_.largest, half_ ? 128 : weights.largest())) {
    std::vector<std::int64_t> constants(static_cast<std::size_t>(n_));
    for (std::int64_t i = 0; i < n_; ++i) constants[static_cast<std::size_t>(i)] = -activations_.zero_point * weights.sum(i);
    if (kernel == Form::bits) {
        prepare_bits(weights, constants);
    } else if (kernel == Form::bytes) {
        panel_group_size_ = weights.taps * ceil_div(quads_of(weights.c), half_ ? 2 : 1) * kGroup;
        for (std::int64_t group = 0; group < groups_; ++group)
            panels_.push_back(make_panel_bytes(weights, group * group_n_, group_n_, half_));
        weight_bytes_ = groups_ * groups_of(group_n_) * panel_group_size_ * 4;
    } else {
        const std::int64_t padded = groups_of(n_) * kGroup;
        depthwise_.resize(static_cast<std::size_t>(weights.taps * padded));
        for (std::int64_t i = 0; i < n_; ++i)
            for (std::int64_t tap = 0; tap < weights.taps; ++tap)
                depthwise_[static_cast<std::size_t>(tap * padded + i)] = weights.at(i, tap);
        weight_bytes_ = weights.taps * padded * 4;
    }
    // Sums are formed modulo 2^32: parts of one may pass 2^31, as planes of opposite sign do, the whole cannot.
    for (std::int64_t group = 0; group < groups_; ++group) {
        base_.emplace_back(static_cast<std::size_t>(groups_of(group_n_) * kGroup), 0);
        for (std::int64_t i = 0; i < group_n_; ++i)
            base_.back()[static_cast<std::size_t>(i)] =
                static_cast<std::int32_t>(constants[static_cast<std::size_t>(group * group_n_ + i)]);
    }
    prepare_padding(weights, padding);
}

// What the kernel adds for a tap whose stored code is that of the border.
std::int64_t GatherProduct::padded_tap(const Weights& weights, std::int64_t column, std::int64_t tap) const {
    if (kernel_ != Form::bits) return activations_.border_code * weights.tap_sum(column, tap);
    std::int64_t total = 0;  // a border of zero bits: XOR counts the weights, AND nothing
    for (const Pass& pass : passes_)
        if (pass.op == BitOp::exclusive_or)
            total += pass.coefficient * weights.bits_set_in_tap(pass.panel, column, tap);
    return total;
}

// What a row with this padding need not read. Taps at the sides of an image go first: a row of pixels along its top or
// bottom is long, the corners are few.
GatherProduct::RowSet GatherProduct::left_out(const std::uint8_t* missing, std::int64_t taps) const {
    const std::int64_t runs = taps / run_taps_;
    if (kernel_ == Form::lanes) return {0, runs, 0, 0, {}, {}};
    const auto column = [&](std::int64_t tap) {
        for (std::int64_t run = 0; run < runs; ++run)
            if (missing[run * run_taps_ + tap] == 0) return false;
        return true;
    };
    const auto line = [&](std::int64_t run) {
        return std::all_of(missing + run * run_taps_, missing + (run + 1) * run_taps_,
                           [](std::uint8_t is_missing) { return is_missing != 0; });
    };
    std::int64_t before = 0, after = 0, first = 0, end = runs;
    while (before < run_taps_ && column(before)) ++before;
    while (after < run_taps_ - before && column(run_taps_ - 1 - after)) ++after;
    if (before + after > 0) return {0, before + after == run_taps_ ? 0 : runs, before, after, {}, {}};
    while (first < end && line(first)) ++first;
    while (first < end && line(end - 1)) --end;
    return {first, end - first, 0, 0, {}, {}};
}

void GatherProduct::prepare_padding(const Weights& weights, const Padding& padding) {
    const std::int64_t taps = weights.taps, classes = padding.classes(taps);
    run_taps_ = padding.run_taps;
    std::vector<std::size_t> set_of_class;
    corrections_.assign(static_cast<std::size_t>(classes * n_), 0);
    for (std::int64_t kind = 0; kind < classes; ++kind) {
        const std::uint8_t* missing = padding.missing.data() + kind * taps;
        const RowSet wanted = left_out(missing, taps);
        const auto same = [&](const RowSet& set) {
            return set.first_run == wanted.first_run && set.run_count == wanted.run_count &&
                   set.taps_before == wanted.taps_before && set.taps_after == wanted.taps_after;
        };
        const auto found = std::find_if(sets_.begin(), sets_.end(), same);
        set_of_class.push_back(static_cast<std::size_t>(found - sets_.begin()));
        if (found == sets_.end()) sets_.push_back(wanted);
        for (std::int64_t tap = 0; tap < taps; ++tap) {
            if (missing[tap] == 0) continue;
            const std::int64_t run = tap / run_taps_, place = tap % run_taps_;
            const bool read = run >= wanted.first_run && run < wanted.first_run + wanted.run_count &&
                              place >= wanted.taps_before && place < run_taps_ - wanted.taps_after;
            for (std::int64_t i = 0; i < n_; ++i)
                corrections_[static_cast<std::size_t>(kind * n_ + i)] += static_cast<std::int32_t>(
                    padding.delta * weights.tap_sum(i, tap) + (read ? 0 : padded_tap(weights, i, tap)));
        }
    }
    if (std::all_of(corrections_.begin(), corrections_.end(), [](std::int32_t x) { return x == 0; })) corrections_.clear();
    for (std::size_t row = 0; row < padding.row_class.size(); ++row) {
        RowSet& set = sets_[set_of_class[padding.row_class[row]]];
        set.rows.push_back(static_cast<std::int64_t>(row));
        set.offsets.push_back(activations_.rows[row]);
    }
}

// Each pair of planes adds coefficient * popcount; the rest is a constant of the column.
//   weights sum 2^i (2 b - 1), activation bit a: XOR, since a * (2 b - 1) = b - (a ^ b), and (2 a - 1)(2 b - 1) = 1 - 2 (a ^ b)
//   weights in two's complement: AND, since a * b = (a & b), and (2 a - 1) * b = 2 (a & b) - b
void GatherProduct::prepare_bits(const Weights& weights, std::vector<std::int64_t>& constants) {
    panel_group_size_ = weights.taps * words_per_row(weights.c) * 2 * kGroup;
    const bool signs = weights.encoding == Encoding::sign;
    for (std::int64_t plane = 0; plane < weights.planes; ++plane) {
        const std::int32_t value = signs ? 1 << plane : weights.plane_value(plane);
        for (std::int64_t group = 0; group < groups_; ++group)
            panels_.push_back(make_panel_bits(weights, plane, group * group_n_, group_n_));
        for (std::int64_t p = 0; p < activations_.planes; ++p) {
            const std::int32_t doubled = activations_.sign ? 2 : 1 << p;
            passes_.push_back({plane, p, signs ? BitOp::exclusive_or : BitOp::conjunction,
                               signs ? -value * doubled : value * doubled});
            for (std::int64_t i = 0; i < n_; ++i) {
                const std::int64_t set = weights.bits_set(plane, i);
                constants[static_cast<std::size_t>(i)] +=
                    signs ? (activations_.sign ? value * weights.k() : value * doubled * set)
                          : (activations_.sign ? -value * set : 0);
            }
        }
    }
    weight_bytes_ = static_cast<std::int64_t>(panels_.size()) * groups_of(group_n_) * panel_group_size_ * 4;
}

void GatherProduct::repeat_rows(std::int64_t rows, const std::vector<std::int64_t>& row_bytes) {
    for (RowSet& set : sets_) {
        if (set.rows.empty()) continue;
        repeat_row(set.rows, rows, 1);
        repeat_row(set.offsets, rows, row_bytes[static_cast<std::size_t>(activations_.memory)]);
    }
}

void GatherProduct::fill_group(const Gather& whole, std::int64_t panel_offset, std::int64_t group, std::int64_t column,
                               std::int64_t n, const Block& block) const {
    const std::int32_t* base = base_[static_cast<std::size_t>(group)].data() + column;
    const std::int64_t offset = column / kGroup * panel_group_size_ + panel_offset;
    const auto panel_of = [&](std::int64_t plane) {
        return panels_[static_cast<std::size_t>(plane * groups_ + group)].get() + offset;
    };
    if (kernel_ == Form::bytes) {
        const auto conv = half_ ? table_->conv_u8s4 : table_->conv_u8s8;
        return conv(whole, panel_of(0), groups_of(n), wide_, base, block);
    }
    bool first = true;
    for (const Pass& pass : passes_) {
        Gather gather = whole;
        gather.a += pass.activation_plane * activations_.plane_bytes;
        table_->conv_u1(gather, panel_of(pass.panel), groups_of(n), pass.op, pass.coefficient, first ? base : nullptr,
                        block);
        first = false;
    }
}

void GatherProduct::fill_rows(Gather gather, std::int64_t panel_offset, const Part& part, const Block& block) const {
    if (kernel_ == Form::lanes) return table_->depthwise_u8(gather, depthwise_.data(), n_, base_[0].data(), block);
    if (groups_ == 1) return fill_group(gather, panel_offset, 0, part.column, part.n, block);
    // Groups in ascending order: the lanes that a group writes past its columns are overwritten by the next one.
    for (std::int64_t group = 0; group < groups_; ++group) {
        fill_group(gather, panel_offset, group, 0, group_n_, Block{block.at + group * group_n_, block.stride});
        gather.a += activations_.group_bytes;
    }
}

void GatherProduct::fill(char* const* memory, const Part& part, const Block& block) const {
    const std::int64_t element_bytes = kernel_ == Form::bits ? 8 : 4;  // of a run: words or quads
    const std::int64_t tap_length = activations_.run_length / run_taps_;
    const std::int64_t taps = static_cast<std::int64_t>(activations_.runs.size()) * run_taps_;
    const std::int64_t tap_panel = panel_group_size_ / taps;
    for (const RowSet& set : sets_) {
        const auto from = std::lower_bound(set.rows.begin(), set.rows.end(), part.first) - set.rows.begin();
        const auto to = std::lower_bound(set.rows.begin(), set.rows.end(), part.first + part.m) - set.rows.begin();
        if (from == to) continue;
        Gather gather;
        gather.a = memory[activations_.memory] + set.taps_before * tap_length * element_bytes;
        gather.rows = set.offsets.data() + from;
        gather.m = to - from;
        gather.places = set.rows.data() + from;
        gather.first_place = part.first;
        gather.runs = activations_.runs.data() + set.first_run;
        gather.run_count = set.run_count;
        gather.run_length = (run_taps_ - set.taps_before - set.taps_after) * tap_length;
        gather.panel_stride = panel_group_size_;
        gather.panel_gap = (set.taps_before + set.taps_after) * tap_panel;
        const std::int64_t panel_offset = (set.first_run * run_taps_ + set.taps_before) * tap_panel;
        fill_rows(gather, panel_offset, part, block);
    }
}

}  // namespace featherbit
