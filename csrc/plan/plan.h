// The native executor: the steps of a packed network over one arena.
//
// A plan is immutable: kernels chosen, weights repacked, buffers laid out once. A run works through the batch in tiles of
// rows that fit the cache; each thread takes tiles of its own, or, when there are fewer rows than threads can share, the
// threads split the columns of each layer. Scratch memory is kept in a pool, one arena per call under way: a call
// allocates only when more calls run at once than ever before.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../panel.h"
#include "gemm.h"

namespace featherbit {

// Where the rows of a step come from and go to: the input, the output, or a buffer of the arena, by its index.
constexpr int kFromInput = -1;
constexpr int kToOutput = -1;

enum class StepKind { pack_sign, quantize, product };

// What a product does with its int32 results: threshold them to bits, scale them to the float32 output, or store them.
enum class After { threshold, affine, keep };

struct StepSpec {
    StepKind kind = StepKind::product;
    int from = kFromInput, to = kToOutput;
    std::int64_t n = 0, k = 0;  // a row in and a row out, in elements; n = k for pack_sign and quantize
    bool bytes_in = false;      // product: uint8 rows instead of bits
    After after = After::threshold;
    std::int64_t zero_point = 0;              // product of bytes: subtracted from every byte
    const std::uint64_t* weights = nullptr;   // [n][words_per_row(k)]
    const std::int32_t* thresholds = nullptr;  // [n]
    const std::uint64_t* flips = nullptr;      // [words_per_row(n)]
    const float* multiplier = nullptr;         // [n]
    const float* addend = nullptr;             // [n]
    bool fused = false;                        // affine with one rounding
};

class Plan {
   public:
    // Copies or repacks all that the specs point to. `buffer_row_bytes`: bytes of a row of each buffer.
    Plan(const KernelTable* table, const std::vector<StepSpec>& specs, const std::vector<std::int64_t>& buffer_row_bytes,
         std::int64_t input_row_bytes, std::int64_t output_row_bytes);

    // Run `m` rows. `taps`: per step, null or where to copy the step's result rows; for a product followed by a threshold
    // or an affine map, `acc_taps` receives the int32 results as well. Thread-safe; throws only std::bad_alloc.
    void run(const void* input, std::int64_t m, void* output, int threads, void* const* taps,
             std::int32_t* const* acc_taps) const;

    std::int64_t steps() const { return static_cast<std::int64_t>(steps_.size()); }
    std::int64_t panel_bytes() const { return panel_bytes_; }
    std::int64_t input_row_bytes() const { return input_row_bytes_; }
    std::int64_t output_row_bytes() const { return output_row_bytes_; }
    std::int64_t row_bytes_out(std::int64_t step) const;  // bytes of a row that the step's tap receives
    std::int64_t acc_row_bytes(std::int64_t step) const;  // bytes of a row of its int32 results; 0 if it has none

   private:
    struct Step {
        StepSpec spec;
        Product product{};
        AlignedArray<std::uint32_t> panel1;
        AlignedArray<std::uint64_t> panel8;
        std::vector<std::int32_t> thresholds;  // padded to whole groups; the zero point folded in
        std::vector<std::uint64_t> flips;
        std::vector<std::int32_t> offset;  // [n]: zero_point * sum of the weights of the column
        std::vector<float> multiplier, addend;
    };
    struct Arena {
        std::vector<AlignedArray<char>> buffers;
        AlignedArray<std::int32_t> acc;
        std::int64_t rows = 0;  // 0: not yet allocated
    };
    class Lease;

    void prepare(Step& step);
    void run_tile(const char* input, std::int64_t m, char* output, Arena& arena, int threads, std::int64_t first_row,
                  void* const* taps, std::int32_t* const* acc_taps) const;
    void run_product(const Step& step, const char* from, std::int64_t m, char* to, Arena& arena, int threads,
                     std::int32_t* acc_tap) const;

    const KernelTable* table_;
    std::vector<Step> steps_;
    std::vector<std::int64_t> buffer_row_bytes_;
    std::int64_t input_row_bytes_, output_row_bytes_;
    std::int64_t tile_rows_ = 1, acc_row_bytes_ = 0, panel_bytes_ = 0;
    mutable std::mutex mutex_;
    mutable std::vector<std::unique_ptr<Arena>> free_arenas_;
};

}  // namespace featherbit
