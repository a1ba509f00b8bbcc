// The native executor: the steps of a packed network over one arena.
//
// A plan is immutable: kernels chosen, weights repacked, buffers laid out once. A run works through the batch in tiles of
// images that fit the cache; each thread takes tiles of its own, or, when there are fewer images than threads can share,
// the threads split the rows or columns of each step. Scratch memory is kept in a pool, one arena per call under way: a
// call allocates only when more calls run at once than ever before.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "step.h"

namespace featherbit {

// Memories by number: the input, the output, then the buffers of the arena.
constexpr int kInput = 0, kOutput = 1, kFirstBuffer = 2;

class Plan {
   public:
    // row_bytes: what each memory takes for an image; the first two are the input and the output.
    Plan(std::vector<std::unique_ptr<Step>> steps, std::vector<std::int64_t> row_bytes);

    // A copy of a memory's images, made after a step has run.
    struct Tap {
        std::size_t step;
        int memory;
        char* to;
    };

    // Run `m` images. Thread-safe; throws only std::bad_alloc.
    void run(const void* input, std::int64_t m, void* output, int threads, const std::vector<Tap>& taps = {}) const;

    std::size_t steps() const { return steps_.size(); }
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

    void run_tile(const Call& call, std::int64_t first, std::int64_t m, Arena& arena, int part, int parts) const;
    void run_together(const Call& call, std::int64_t m, int threads) const;
    void run_apart(const Call& call, std::int64_t m, int threads) const;

    std::vector<std::unique_ptr<Step>> steps_;
    std::vector<std::int64_t> row_bytes_;
    std::int64_t tile_images_ = 1, scratch_lanes_ = 0;
    bool spatial_ = false;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Arena>> free_arenas_;
};

}  // namespace featherbit
