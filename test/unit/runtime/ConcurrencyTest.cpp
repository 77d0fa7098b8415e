//===- ConcurrencyTest.cpp - many threads, cancelling, releasing ----------===//

#include "Models.h"
#include "TestSupport.h"

#include "ThreadPool.h"

#include <atomic>
#include <thread>

using namespace flame::test;
namespace plan = flame::plan;

TEST(Concurrency, SixtyFourThreadsOnOneModule) {
  auto module = load(everything().finish());
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 64; ++t)
    threads.emplace_back([&, t] {
      auto s = session(module);
      for (int i = 0; i < 20; ++i) {
        const int64_t n = 1 + (t + i) % 7;
        auto out = run(s, 5, tensor<float>({n, 2}, iota(2 * n, t)), tensor<bool>({}, {i % 2 == 0}));
        auto y = values<float>(out[0]);
        for (int64_t k = 0; k < n; ++k)
          wrong += y[2 * k] != 2 * (2 * k + 1 + t) + 1;
        wrong += values<float>(out[1])[0] != (i % 2 == 0 ? 4 : 2);
      }
    });
  for (auto &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Concurrency, OneSessionSerialises) {
  auto module = load(addScale().finish());
  auto s = session(module);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        auto out =
            run(s, 1, tensor<float>({t + 1, 4}, iota(4 * (t + 1))), tensor<float>({t + 1, 4}, iota(4 * (t + 1))));
        wrong += values<float>(out[0]).back() != (8 * (t + 1) - 2) * 2 + 1;
      }
    });
  for (auto &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0);
}

namespace {

/// Runs until it is cancelled: a loop without a trip count.
PlanBuilder endless() {
  PlanBuilder p;
  const int one = p.constant(1), big = p.constant(INT64_MAX);
  const int x = p.input("x", DType::I64, {}, {});
  p.addBlock("init");
  const int body = p.addBlock("body");
  p.argument("i", DType::I64, {}, body);
  p.argument("c", DType::Bool, {}, body);
  const int v = p.argument("v", DType::I64, {}, body);
  const int next = p.heap("next", DType::I64, {}, body), go = p.arena("go", DType::Bool, {}, 2, 2, body);
  p.alloc(next, body);
  p.launch("k_addi", {v, next}, {one}, one, "count", body);
  p.launch("k_less", {next, go}, {big}, one, "forever", body);
  p.root.blocks[body]->results = {go, next};
  const int y = p.heap("y", DType::I64, {});
  plan::LoopT l;
  l.body = body;
  l.carried = {x};
  l.results = {y};
  p.command(std::move(l), "endless_loop");
  p.output("y", y, {});
  return p;
}

} // namespace

TEST(Concurrency, CancelsARun) {
  auto module = load(endless().finish());
  auto s = session(module);
  auto x = tensor<int64_t>({}, {0});
  std::thread canceller([&] {
    for (int i = 0; i < 50; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      flame_session_cancel(s.get());
    }
  });
  std::vector<ValuePtr> out;
  Result r = tryRun(s, {x.get()}, 1, out);
  canceller.join();
  EXPECT_EQ(r.code, FLAME_CANCELLED);
  EXPECT_NE(r.message.find("cancelled"), std::string::npos) << r.message;
}

TEST(Concurrency, ReleasesDuringARun) {
  flame_session *s = nullptr;
  {
    auto module = load(endless().finish());
    ASSERT_OK(flame_session_create(module.get(), &s));
  } // the module's own reference is gone
  auto x = tensor<int64_t>({}, {0});
  std::atomic<bool> started{false};
  flame_session_retain(s); // for the canceller below
  std::thread runner([&] {
    const flame_value *inputs[] = {x.get()};
    flame_value *outputs[] = {nullptr};
    started = true;
    Result r(flame_session_run(s, inputs, 1, outputs, 1));
    EXPECT_EQ(r.code, FLAME_CANCELLED);
  });
  while (!started)
    std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  x.reset();                // the run has its own reference
  flame_session_release(s); // so it has of the session
  for (int i = 0; i < 20; ++i) {
    flame_session_cancel(s);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  flame_session_release(s);
  runner.join();
}

TEST(Concurrency, PoolCoversEveryIndexOnce) {
  for (int size : {1, 2, 3, 8}) {
    flame::rt::ThreadPool pool(size);
    for (int64_t extent : {1, 2, 7, 64, 1000, 10007})
      for (int64_t grain : {1, 3, 100, 100000}) {
        std::vector<std::atomic<int>> hits(extent);
        struct Context {
          std::vector<std::atomic<int>> *hits;
          std::atomic<int> inside[16];
        } context{&hits, {}};
        const int participants = pool.participants(extent, grain);
        EXPECT_LE(participants, size);
        pool.parallelFor(
            extent, grain, participants,
            [](void *c, int participant, int64_t begin, int64_t end) {
              auto &context = *static_cast<Context *>(c);
              EXPECT_EQ(context.inside[participant].fetch_add(1), 0) << "two threads share a participant's number";
              for (int64_t i = begin; i < end; ++i)
                (*context.hits)[i].fetch_add(1);
              context.inside[participant].fetch_sub(1);
            },
            &context);
        for (auto &hit : hits)
          ASSERT_EQ(hit.load(), 1);
      }
  }
}

TEST(Concurrency, PoolsNestAndShare) {
  // A busy pool must not block: loops from several threads at once, each complete.
  flame::rt::ThreadPool pool(4);
  std::vector<std::thread> threads;
  std::atomic<int64_t> total{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        pool.parallelFor(
            100, 1, 4,
            [](void *c, int, int64_t begin, int64_t end) { *static_cast<std::atomic<int64_t> *>(c) += end - begin; },
            &total);
    });
  for (auto &thread : threads)
    thread.join();
  EXPECT_EQ(total, 8 * 200 * 100);
}

TEST(Concurrency, ThreadCountFollowsOptionAndEnvironment) {
  EXPECT_EQ(flame::rt::chooseThreadCount(3), 3);
  setenv("FLAME_NUM_THREADS", "5", 1);
  EXPECT_EQ(flame::rt::chooseThreadCount(0), 5);
  setenv("FLAME_NUM_THREADS", "many", 1);
  EXPECT_GE(flame::rt::chooseThreadCount(0), 1);
  unsetenv("FLAME_NUM_THREADS");
}
