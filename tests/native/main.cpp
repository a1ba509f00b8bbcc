// Run every native test; exit status 1 if a check failed.
#include "check.h"

int main() {
    featherbit::test::Tally tally;
    featherbit::test::test_kernels(tally);
    featherbit::test::test_conv(tally);
    featherbit::test::test_tile(tally);
    featherbit::test::test_producers(tally);
    featherbit::test::test_plan(tally);
    featherbit::test::test_sequences(tally);
    std::printf("%ld passed, %ld failed\n", tally.passed(), tally.failed());
    return tally.failed() == 0 ? 0 : 1;
}
