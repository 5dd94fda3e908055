#include "core/parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#ifdef _OPENMP
#include <omp.h>
#include <pthread.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <thread>
#include <vector>
#endif

namespace neocog {
namespace {

std::atomic<int> requested{0};
thread_local int limit_of_this_thread = 0;
thread_local bool idle_thread = false;

#ifdef _OPENMP
// libgomp's pool does not survive a fork: a child that opened a parallel region would wait forever.
std::atomic<bool> forked{false};
[[maybe_unused]] const int fork_hook = pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
#endif

// The items of a call: a share of neighbours for every thread, the same in the next call, as what they read
// and wrote is in its caches. Who is done with his own share goes on with those of the others.
class Shares {
 public:
  Shares(int64_t items, int threads, bool backwards)
      : items_(items), shares_(std::min(threads, kMostShares)), backwards_(backwards) {}

  void work(int thread, parallel_detail::Body body, void* context) {
    for (int i = 0; i < shares_; ++i) {
      const int share = (thread + i) % shares_;
      const int64_t begin = first_item(items_, share, shares_), end = first_item(items_, share + 1, shares_);
      std::atomic<int64_t>& taken = taken_[share].items;
      for (int64_t at = taken++; at < end - begin; at = taken++) {
        body(context, backwards_ ? end - 1 - at : begin + at, thread);
      }
    }
  }

 private:
  static constexpr int kMostShares = 64;

  int64_t items_;
  int shares_;
  bool backwards_;
  struct alignas(64) Taken {
    std::atomic<int64_t> items{0};
  };
  Taken taken_[kMostShares];
};

#ifdef __SANITIZE_THREAD__
// ThreadSanitizer does not see libgomp's barriers and would call every result a race: its builds use plain
// threads.
thread_local bool nested = false;

void run_on_plain_threads(Shares& shares, int threads, parallel_detail::Body body, void* context) {
  const auto work = [&](int thread) {
    nested = true;
    shares.work(thread, body, context);
    nested = false;
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& other : others) other.join();
}
#endif

int environment_threads() {
  static const int threads = [] {
    const char* text = std::getenv("NEOCOG_NUM_THREADS");
    char* end = nullptr;
    const long value = text == nullptr ? 0 : std::strtol(text, &end, 10);
    if (end != nullptr && *end != '\0') return 0;  // "3.5" is no number of threads
    return value > 0 && value <= 4096 ? static_cast<int>(value) : 0;
  }();
  return threads;
}

}  // namespace

int get_num_threads() {
  if (limit_of_this_thread > 0) return limit_of_this_thread;
  if (const int threads = requested.load(std::memory_order_relaxed); threads > 0) return threads;
  if (environment_threads() > 0) return environment_threads();
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

void set_num_threads(int threads) {
  requested.store(threads, std::memory_order_relaxed);
}

ThreadLimit::ThreadLimit(int threads) : before_(limit_of_this_thread) {
  if (threads > 0) limit_of_this_thread = threads;
}

ThreadLimit::~ThreadLimit() {
  limit_of_this_thread = before_;
}

Idle::Idle(bool idle) : before_(idle_thread) {
  idle_thread = idle;
}

Idle::~Idle() {
  idle_thread = before_;
}

int threads_for(int64_t items) {
#ifdef __SANITIZE_THREAD__
  if (nested) return 1;
#endif
#ifdef _OPENMP
  if (items <= 1 || forked.load(std::memory_order_relaxed) || omp_in_parallel()) return 1;
  const int threads = get_num_threads();
  return items < threads ? static_cast<int>(items) : threads;
#else
  (void)items;
  return 1;
#endif
}

void parallel_detail::run(int64_t items, int threads, bool backwards, Body body, void* context) {
  if (idle_thread) return;
  if (threads <= 1) {
    for (int64_t i = 0; i < items; ++i) body(context, backwards ? items - 1 - i : i, 0);
    return;
  }
  Shares shares(items, threads, backwards);
#ifdef __SANITIZE_THREAD__
  run_on_plain_threads(shares, threads, body, context);
#elif defined(_OPENMP)
#pragma omp parallel num_threads(threads)
  shares.work(omp_get_thread_num(), body, context);
#endif
}

}  // namespace neocog
