#include "plan.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

namespace featherbit {
namespace {

// Images of a tile: enough to amortize a pass over the weights, few enough that their values stay in the cache.
constexpr std::int64_t kTileImages = 192;
constexpr std::int64_t kTileBytes = 512 << 10;

}  // namespace

struct Plan::Call {
    const std::vector<char*>& memory;
    std::int64_t m;
    const std::vector<Tap>& taps;
    const Sequence& sequence;
};

// An arena for one thread, or one team of threads, of one call, given back at its end.
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
    // Make room for tiles of `images`; a small batch never pays for a full tile.
    Arena& with_room(std::int64_t images, int threads) {
        if (arena_->images < images) {
            arena_->images = 0;  // an allocation below may throw
            arena_->buffers.clear();
            for (std::size_t i = plan_.externals_; i < plan_.row_bytes_.size(); ++i) {
                const auto bytes = static_cast<std::size_t>(plan_.row_bytes_[i] * images);
                arena_->buffers.push_back(make_aligned<char>(bytes));
                std::memset(arena_->buffers.back().get(), 0, bytes);
            }
            arena_->images = images;
        }
        while (arena_->scratch.size() < static_cast<std::size_t>(threads)) {
            Scratch scratch;
            scratch.lanes = make_aligned<std::int32_t>(static_cast<std::size_t>(plan_.scratch_lanes_));
            std::memset(scratch.lanes.get(), 0, static_cast<std::size_t>(plan_.scratch_lanes_ * 4));
            scratch.memory.resize(plan_.row_bytes_.size());
            scratch.base.resize(plan_.row_bytes_.size());
            arena_->scratch.push_back(std::move(scratch));
        }
        return *arena_;
    }

   private:
    const Plan& plan_;
    std::unique_ptr<Arena> arena_;
};

Plan::Plan(std::vector<std::unique_ptr<Step>> steps, std::vector<std::int64_t> row_bytes, std::size_t externals)
    : steps_(std::move(steps)), row_bytes_(std::move(row_bytes)), externals_(externals) {
    for (std::size_t i = 0; i < externals_; ++i)
        written_.push_back(std::any_of(steps_.begin(), steps_.end(),
                                       [&](const auto& step) { return step->writes(static_cast<int>(i)); }));
    std::int64_t image_bytes = 1;
    for (std::size_t i = externals_; i < row_bytes_.size(); ++i) image_bytes += row_bytes_[i];
    tile_images_ = std::clamp<std::int64_t>(kTileBytes / image_bytes, 1, kTileImages);
    for (const auto& step : steps_) {
        step->finish(tile_images_, row_bytes_);
        scratch_lanes_ = std::max(scratch_lanes_, step->scratch_lanes());
        spatial_ = spatial_ || step->spatial();
    }
    free_arenas_.reserve(16);
}

std::int64_t Plan::panel_bytes() const {
    std::int64_t bytes = 0;
    for (const auto& step : steps_) bytes += step->weight_bytes();
    return bytes;
}

std::int64_t Plan::arena_bytes() const {
    std::int64_t bytes = scratch_lanes_ * 4;
    for (std::size_t i = externals_; i < row_bytes_.size(); ++i) bytes += row_bytes_[i];
    return bytes;
}

// Every step of the plan once, for images first .. first + m that begin at scratch.base, as part `part` of `parts`.
void Plan::run_steps(const Call& call, std::int64_t first, std::int64_t m, Scratch& scratch, int part, int parts) const {
    const std::vector<char*>& base = scratch.base;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
        steps_[i]->run(base.data(), row_bytes_, m, part, parts, scratch);
        if (parts > 1) {
#pragma omp barrier
        }
        if (call.taps.empty()) continue;
        for (const Tap& tap : call.taps) {
            const auto at = static_cast<std::size_t>(tap.memory);
            if (tap.step == i && part == 0)
                std::memcpy(tap.to + first * row_bytes_[at], base[at], static_cast<std::size_t>(m * row_bytes_[at]));
        }
        if (parts > 1) {
#pragma omp barrier
        }
    }
}

// Images first .. first + m of the call, the whole sequence of it, as part `part` of `parts` that share the arena.
void Plan::run_tile(const Call& call, std::int64_t first, std::int64_t m, Arena& arena, int part, int parts) const {
    Scratch& scratch = arena.scratch[static_cast<std::size_t>(part)];
    std::vector<char*>& base = scratch.base;
    const Sequence& sequence = call.sequence;
    for (std::size_t i = 0; i < externals_; ++i) base[i] = call.memory[i] + first * row_bytes_[i];
    for (std::size_t i = 0; i < arena.buffers.size(); ++i) base[externals_ + i] = arena.buffers[i].get();
    run_steps(call, first, m, scratch, part, parts);
    for (std::int64_t time = 1; time < sequence.times; ++time) {
        for (std::size_t i = 0; i < externals_; ++i)
            if (sequence.advances[i]) base[i] += call.m * row_bytes_[i];
        for (const auto& [one, other] : sequence.swaps)
            std::swap(base[static_cast<std::size_t>(one)], base[static_cast<std::size_t>(other)]);
        run_steps(call, first, m, scratch, part, parts);
    }
}

void Plan::run_together(const Call& call, int threads) const {
    Lease lease(*this);
    Arena& arena = lease.with_room(std::min(call.m, tile_images_), threads);
    const auto run = [&](int part, int parts) {
        for (std::int64_t first = 0; first < call.m; first += tile_images_)
            run_tile(call, first, std::min(tile_images_, call.m - first), arena, part, parts);
    };
    if (threads == 1) return run(0, 1);
#pragma omp parallel num_threads(threads)
    run(omp_get_thread_num(), omp_get_num_threads());
}

void Plan::run_apart(const Call& call, int threads) const {
    const std::int64_t tile = std::min(tile_images_, ceil_div(call.m, threads));
    std::vector<std::unique_ptr<Lease>> leases;  // taken here: an allocation may throw, a parallel region may not
    for (int i = 0; i < threads; ++i) {
        leases.push_back(std::make_unique<Lease>(*this));
        leases.back()->with_room(tile, 1);
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; ++part) {
        const Range range = split(call.m, spatial_ ? 1 : tile, threads, part);
        Arena& arena = leases[static_cast<std::size_t>(part)]->with_room(tile, 1);
        for (std::int64_t first = range.begin; first < range.end; first += tile)
            run_tile(call, first, std::min(tile, range.end - first), arena, 0, 1);
    }
}

void Plan::run_call(const Call& call, int threads) const {
    if (call.m == 0) return;
    // Fewer images than keep every thread busy: the threads share each step instead.
    const std::int64_t enough = spatial_ ? 4 : 32;
    if (threads <= 1 || call.m < enough * threads) return run_together(call, threads);
    run_apart(call, threads);
}

void Plan::run(const std::vector<char*>& memory, std::int64_t m, int threads, const std::vector<Tap>& taps) const {
    run_call({memory, m, taps, {}}, threads);
}

void Plan::run_sequence(const std::vector<char*>& memory, std::int64_t m, int threads, const Sequence& sequence) const {
    if (sequence.times > 0) run_call({memory, m, {}, sequence}, threads);
}

}  // namespace featherbit
