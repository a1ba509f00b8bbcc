// The native executor: the steps of a packed network over one arena.
//
// A plan is immutable: kernels chosen, weights repacked, buffers laid out once. A run works through the batch in tiles of
// images that fit the cache; each thread takes tiles of its own, or, when there are fewer images than threads can share,
// the threads split the rows or columns of each step. Scratch memory is kept in a pool, one arena per call under way: a
// call allocates only when more calls run at once than ever before.
//
// The first memories are the caller's: input, output, and what else lives longer than a call, such as the states of a
// network with a memory, or crosses from one plan to the next. A sequence runs a plan several times, each time on what the last one left; images do not see each
// other, so a tile of them goes through the whole sequence before the next one begins.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "step.h"

namespace featherbit {

// Memories by number: the caller's first, then the buffers of the arena.
constexpr int kInput = 0, kOutput = 1;

class Plan {
   public:
    // row_bytes: what each memory takes for an image; the first `externals` are the caller's.
    Plan(std::vector<std::unique_ptr<Step>> steps, std::vector<std::int64_t> row_bytes, std::size_t externals = 2);

    // A copy of a memory's images, made after a step has run.
    struct Tap {
        std::size_t step;
        int memory;
        char* to;
    };

    // Run `m` images; `memory` is where each external begins. Thread-safe; throws only std::bad_alloc.
    void run(const std::vector<char*>& memory, std::int64_t m, int threads, const std::vector<Tap>& taps = {}) const;

    struct Sequence {
        std::int64_t times = 0;
        std::vector<bool> advances;               // whether an external begins m images further each time
        std::vector<std::pair<int, int>> swaps;   // externals that change places each time, of equal size; none advances
    };
    // Run `m` images `times` times. What an external with a partner holds at the end is its own after an even number of
    // times, its partner's after an odd one. Thread-safe; throws only std::bad_alloc.
    void run_sequence(const std::vector<char*>& memory, std::int64_t m, int threads, const Sequence& sequence) const;

    std::size_t steps() const { return steps_.size(); }
    std::size_t externals() const { return externals_; }
    bool writes(std::size_t external) const { return written_[external]; }
    std::int64_t panel_bytes() const;
    std::int64_t arena_bytes() const;  // of the memory that one thread takes for one image
    const std::vector<std::int64_t>& row_bytes() const { return row_bytes_; }

   private:
    struct Arena {
        std::vector<AlignedArray<char>> buffers;
        std::vector<Scratch> scratch;  // of each thread
        std::int64_t images = 0;       // 0: not yet allocated
    };
    class Lease;
    struct Call;

    void run_steps(const Call& call, std::int64_t first, std::int64_t m, Scratch& scratch, int part, int parts) const;
    void run_tile(const Call& call, std::int64_t first, std::int64_t m, Arena& arena, int part, int parts) const;
    void run_together(const Call& call, int threads) const;
    void run_apart(const Call& call, int threads) const;
    void run_call(const Call& call, int threads) const;

    std::vector<std::unique_ptr<Step>> steps_;
    std::vector<std::int64_t> row_bytes_;
    std::size_t externals_;
    std::vector<bool> written_;  // of each external
    std::int64_t tile_images_ = 1, scratch_lanes_ = 0;
    bool spatial_ = false;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Arena>> free_arenas_;
};

}  // namespace featherbit
