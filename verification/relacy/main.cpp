// tests EXECUTIONS [HEADER LINE]: every test of the headers, that often, up to the first that fails. With LINE, without
// the ordering that this line of the header asks for; then a test has to fail.
#include "laps.hpp"
#include "marks.hpp"
#include "rings.hpp"
#include "state.hpp"

#include <cstdlib>

shadow::place shadow::weakened = {"", 0};
shadow::memory *shadow::shared = nullptr;

int main(int count, char **arguments) {
    unsigned executions = count > 1 ? std::atoi(arguments[1]) : 1000;
    if (count > 3)
        shadow::weakened = {arguments[2], std::atoi(arguments[3])};
    bool passed = passes<push>("push", executions) && passes<push_many>("push_many", executions) &&
                  passes<push_sample>("push_sample", executions) && passes<cell>("cell", executions) &&
                  passes<exemplar>("exemplar", executions) && passes<overwrite>("overwrite", executions) &&
                  passes<overwrite_many>("overwrite_many", executions) && passes<tap_of_batches>("tap_of_batches", executions) &&
                  passes<tap_beside_consumer>("tap_beside_consumer", executions) &&
                  passes<series>("series", executions) && passes<accounts>("accounts", executions);
    return passed ? 0 : 1;
}
