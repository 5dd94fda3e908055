// Sharing work among threads: the only OpenMP in the library.
#pragma once

#include <cstdint>
#include <type_traits>

namespace neocog {

// Threads one call may use: set_num_threads, else NEOCOG_NUM_THREADS, else OpenMP's own setting.
int get_num_threads();
void set_num_threads(int threads);  // 0 returns to the default

// While it lives, calls from this thread use so many threads; 0 changes nothing.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;

 private:
  int before_;
};

// While it lives, parallel_for from this thread does nothing if `idle`, or works as ever if not: kernels that
// are called only for what they keep (KeptWeights) skip their work, but not the making of that.
class Idle {
 public:
  explicit Idle(bool idle);
  ~Idle();
  Idle(const Idle&) = delete;

 private:
  bool before_;
};

namespace parallel_detail {
using Body = void (*)(void* context, int64_t item, int thread);
void run(int64_t items, int threads, bool backwards, Body body, void* context);
template <class F>
void run(int64_t items, int threads, bool backwards, F& body) {
  run(
      items, threads, backwards,
      [](void* context, int64_t item, int thread) { (*static_cast<F*>(context))(item, thread); },
      const_cast<std::remove_const_t<F>*>(&body));
}
}  // namespace parallel_detail

// Threads that parallel_for would use for `items` items from this thread, at least 1.
int threads_for(int64_t items);

// The item that a thread of parallel_for begins with.
inline int64_t first_item(int64_t items, int thread, int threads) {
  return items * thread / threads;
}

// Calls body(item, thread) once for every item in [0, items); thread < threads. A body with a workspace per
// thread must be given the count they were made for: the setting may change at any time. Each thread begins
// with a share of neighbouring items and then takes from those of the others, so results must not depend on
// which thread ran them. The body must not throw. One thread, a nested call and a forked child run serially.
template <class F>
void parallel_for(int64_t items, int threads, F&& body) {
  parallel_detail::run(items, threads, false, body);
}
template <class F>
void parallel_for(int64_t items, F&& body) {
  parallel_for(items, threads_for(items), body);
}

// The last items first: what a parallel_for before has touched last is nearest.
template <class F>
void parallel_for_backwards(int64_t items, F&& body) {
  parallel_detail::run(items, threads_for(items), true, body);
}

}  // namespace neocog
