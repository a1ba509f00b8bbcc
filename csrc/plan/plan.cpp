#include "plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace featherbit {
namespace {

// Rows of a tile: enough to amortize a pass over the weights, few enough that its activations stay in the cache.
constexpr std::int64_t kTileRows = 192;

std::int32_t saturate(std::int64_t value) {
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(value, INT32_MIN, INT32_MAX));
}

// Sum of the +-1 weights of a column.
std::int64_t weight_sum(const std::uint64_t* row, std::int64_t k) {
    std::int64_t ones = 0;
    for (std::int64_t w = 0; w < words_per_row(k); ++w) ones += __builtin_popcountll(row[w]);
    return 2 * ones - k;
}

void affine_rows(const std::int32_t* acc, std::int64_t m, std::int64_t n, const StepSpec& spec, float* out) {
    for (std::int64_t row = 0; row < m; ++row)
        for (std::int64_t i = 0; i < n; ++i) {
            const float x = static_cast<float>(acc[row * n + i]);
            float& y = out[row * n + i];
            y = spec.fused ? std::fma(x, spec.multiplier[i], spec.addend[i]) : x * spec.multiplier[i] + spec.addend[i];
        }
}

// clip(round_half_even(x * 128), -128, 127) + 128; a NaN is code 0.
void quantize_rows(const float* x, std::int64_t count, std::uint8_t* out) {
    for (std::int64_t i = 0; i < count; ++i) {
        const float rounded = std::nearbyint(x[i] * 128.0F);
        const float code = rounded >= -128.0F ? std::min(rounded, 127.0F) : -128.0F;
        out[i] = static_cast<std::uint8_t>(static_cast<int>(code) + 128);
    }
}

void subtract_offset(std::int32_t* acc, std::int64_t m, std::int64_t n, const std::vector<std::int32_t>& offset) {
    for (std::int64_t row = 0; row < m; ++row)
        for (std::int64_t i = 0; i < n; ++i) acc[row * n + i] -= offset[static_cast<std::size_t>(i)];
}

}  // namespace

// An arena for one thread of one call, given back at its end.
class Plan::Lease {
   public:
    explicit Lease(const Plan& plan) : plan_(plan) {
        {
            const std::lock_guard lock(plan.mutex_);
            if (!plan.free_arenas_.empty()) {
                arena_ = std::move(plan.free_arenas_.back());
                plan.free_arenas_.pop_back();
            }
        }
        if (arena_ == nullptr) arena_ = std::make_unique<Arena>();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
        const std::lock_guard lock(plan_.mutex_);
        try {
            plan_.free_arenas_.push_back(std::move(arena_));
        } catch (...) {  // out of memory: the arena is freed instead of kept
        }
    }
    // Make room for tiles of `rows`; a small batch never pays for a full tile.
    Arena& with_room(std::int64_t rows) {
        if (arena_->rows < rows) {
            arena_->rows = 0;  // an allocation below may throw
            arena_->buffers.clear();
            for (const std::int64_t bytes : plan_.buffer_row_bytes_)
                arena_->buffers.push_back(make_aligned<char>(static_cast<std::size_t>(bytes * rows)));
            arena_->acc = make_aligned<std::int32_t>(static_cast<std::size_t>(plan_.acc_row_bytes_ / 4 * rows));
            arena_->rows = rows;
        }
        return *arena_;
    }

   private:
    const Plan& plan_;
    std::unique_ptr<Arena> arena_;
};

Plan::Plan(const KernelTable* table, const std::vector<StepSpec>& specs,
           const std::vector<std::int64_t>& buffer_row_bytes, std::int64_t input_row_bytes,
           std::int64_t output_row_bytes)
    : table_(table),
      buffer_row_bytes_(buffer_row_bytes),
      input_row_bytes_(input_row_bytes),
      output_row_bytes_(output_row_bytes) {
    steps_.resize(specs.size());
    for (std::size_t i = 0; i < specs.size(); ++i) {
        steps_[i].spec = specs[i];
        if (specs[i].kind == StepKind::product) prepare(steps_[i]);
    }
    tile_rows_ = kTileRows;
    free_arenas_.reserve(16);
}

void Plan::prepare(Step& step) {
    StepSpec& spec = step.spec;
    const std::int64_t n = spec.n, k = spec.k, words = words_per_row(k);
    step.product = Product{table_, n, k};
    if (spec.bytes_in) {
        step.panel8 = make_panel_u8(spec.weights, n, k);
        step.product.panel8 = step.panel8.get();
        panel_bytes_ += groups_of(n) * quads_of(k) * 8;
    } else {
        step.panel1 = make_panel_u1(spec.weights, n, k);
        step.product.panel1 = step.panel1.get();
        panel_bytes_ += groups_of(n) * words * 2 * kGroup * 4;
    }
    // sum (a - zero_point) * w = sum a * w - zero_point * sum w: the second term is a constant of the column.
    step.offset.resize(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < n; ++i)
        step.offset[static_cast<std::size_t>(i)] = saturate(spec.zero_point * weight_sum(spec.weights + i * words, k));
    if (spec.after == After::threshold) {
        step.thresholds.assign(static_cast<std::size_t>(groups_of(n) * kGroup), 0);
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t threshold = spec.thresholds[i];
            // The extremes mean always and never: they stay what they are.
            const bool extreme = threshold == INT32_MIN || threshold == INT32_MAX;
            const std::int64_t folded = threshold + step.offset[static_cast<std::size_t>(i)];
            step.thresholds[static_cast<std::size_t>(i)] = saturate(extreme ? threshold : folded);
        }
        step.flips.assign(spec.flips, spec.flips + words_per_row(n));
    } else {
        acc_row_bytes_ = std::max(acc_row_bytes_, n * 4);
    }
    if (spec.after == After::affine) {
        step.multiplier.assign(spec.multiplier, spec.multiplier + n);
        step.addend.assign(spec.addend, spec.addend + n);
        spec.multiplier = step.multiplier.data();
        spec.addend = step.addend.data();
    }
    spec.weights = nullptr;
    spec.thresholds = nullptr;
    spec.flips = nullptr;
}

std::int64_t Plan::row_bytes_out(std::int64_t step) const {
    const StepSpec& spec = steps_[static_cast<std::size_t>(step)].spec;
    if (spec.kind == StepKind::quantize) return spec.n;
    if (spec.kind == StepKind::pack_sign || spec.after == After::threshold) return words_per_row(spec.n) * 8;
    return spec.n * 4;
}

std::int64_t Plan::acc_row_bytes(std::int64_t step) const {
    const StepSpec& spec = steps_[static_cast<std::size_t>(step)].spec;
    return spec.kind == StepKind::product ? spec.n * 4 : 0;
}

void Plan::run_product(const Step& step, const char* from, std::int64_t m, char* to, Arena& arena, int threads,
                       std::int32_t* acc_tap) const {
    const StepSpec& spec = step.spec;
    Sink ints;
    ints.acc_stride = spec.n;
    if (spec.after == After::threshold) {
        Sink bits;
        bits.thresholds = step.thresholds.data();
        bits.flips = step.flips.data();
        bits.bits = reinterpret_cast<std::uint64_t*>(to);
        bits.bits_stride = words_per_row(spec.n);
        step.product.parallel(from, m, bits, threads);
        if (acc_tap == nullptr) return;
        ints.acc = acc_tap;
    } else {
        ints.acc = spec.after == After::keep ? reinterpret_cast<std::int32_t*>(to) : arena.acc.get();
    }
    step.product.parallel(from, m, ints, threads);
    if (spec.bytes_in) subtract_offset(ints.acc, m, spec.n, step.offset);
    if (spec.after != After::threshold && acc_tap != nullptr)
        std::memcpy(acc_tap, ints.acc, static_cast<std::size_t>(m * spec.n * 4));
    if (spec.after == After::affine) affine_rows(ints.acc, m, spec.n, spec, reinterpret_cast<float*>(to));
}

void Plan::run_tile(const char* input, std::int64_t m, char* output, Arena& arena, int threads,
                    std::int64_t first_row, void* const* taps, std::int32_t* const* acc_taps) const {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        const Step& step = steps_[i];
        const StepSpec& spec = step.spec;
        const char* from =
            spec.from == kFromInput ? input : arena.buffers[static_cast<std::size_t>(spec.from)].get();
        char* to = spec.to == kToOutput ? output : arena.buffers[static_cast<std::size_t>(spec.to)].get();
        if (spec.kind == StepKind::pack_sign) {
            table_->pack_f32u1(reinterpret_cast<const float*>(from), m, spec.k, reinterpret_cast<std::uint64_t*>(to));
        } else if (spec.kind == StepKind::quantize) {
            quantize_rows(reinterpret_cast<const float*>(from), m * spec.k, reinterpret_cast<std::uint8_t*>(to));
        } else {
            std::int32_t* acc_tap = acc_taps != nullptr ? acc_taps[i] : nullptr;
            if (acc_tap != nullptr) acc_tap += first_row * spec.n;
            run_product(step, from, m, to, arena, threads, acc_tap);
        }
        if (taps != nullptr && taps[i] != nullptr) {
            const std::int64_t bytes = row_bytes_out(static_cast<std::int64_t>(i));
            std::memcpy(static_cast<char*>(taps[i]) + first_row * bytes, to, static_cast<std::size_t>(m * bytes));
        }
    }
}

void Plan::run(const void* input, std::int64_t m, void* output, int threads, void* const* taps,
               std::int32_t* const* acc_taps) const {
    const char* in = static_cast<const char*>(input);
    char* out = static_cast<char*>(output);
    // Fewer rows than keep every thread busy: the threads share each layer instead.
    if (threads <= 1 || m < 32 * threads) {
        Lease lease(*this);
        Arena& arena = lease.with_room(std::min(m, tile_rows_));
        for (std::int64_t row = 0; row < m; row += tile_rows_)
            run_tile(in + row * input_row_bytes_, std::min(tile_rows_, m - row), out + row * output_row_bytes_, arena,
                     threads, row, taps, acc_taps);
        return;
    }
    const std::int64_t tile = std::min(tile_rows_, ceil_div(m, threads));
    std::vector<std::unique_ptr<Lease>> leases;  // taken here: an allocation may throw, a parallel region may not
    for (int i = 0; i < threads; ++i) {
        leases.push_back(std::make_unique<Lease>(*this));
        leases.back()->with_room(tile);
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; ++part) {
        const Range range = split(m, tile, threads, part);
        Arena& arena = leases[static_cast<std::size_t>(part)]->with_room(tile);
        for (std::int64_t row = range.begin; row < range.end; row += tile)
            run_tile(in + row * input_row_bytes_, std::min(tile, range.end - row), out + row * output_row_bytes_,
                     arena, 1, row, taps, acc_taps);
    }
}

}  // namespace featherbit
