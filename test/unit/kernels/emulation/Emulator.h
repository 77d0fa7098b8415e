//===- Emulator.h - a block of GPU threads on the host ------------------------------------------------------------===//
//
// Runs a kernel's threads as fibers that change at barriers. Asynchronous copies land when their group is waited for,
// and poison their target until then, so that a missing wait shows. What is collective in a warp goes through
// `exchange`.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include <functional>

namespace emulator {

/// Runs `kernel` for each cluster of blocks in turn, or, `together`, for all at the same time.
void launch(int blocks, int threads, int sharedBytes, const std::function<void()> &kernel, bool together = false,
            int cluster = 1);

int thread();
int block();
int gridSize();
int blockSize();
/// Lets the other threads go on: for loops that wait for what another block writes.
void yield();
/// Static shared memory: `bytes` that are the same for all threads of a block and each `id` in the program.
void *staticShared(int id, int bytes);
unsigned char *shared();
/// This block's number in its cluster, and where `here` in its shared memory is in that of block `rank` there.
int clusterRank();
unsigned char *sharedOf(unsigned char *here, int rank);
/// The two halves of a barrier of all threads of the cluster.
void arriveCluster();
void awaitCluster();
void syncBlock();
void syncWarp();
/// Barrier `number` of the block, for `threads` of its threads.
void syncThreads(int number, int threads);
void arriveThreads(int number, int threads);

/// A copy of the current group.
void copy(void *to, const void *from, int bytes, int valid);
void commit();
void wait(int pending);

/// What this thread has started and what happens when it waits for it: as copies, in groups, of `queue` 0 or 1.
void start(int queue, std::function<void()> work);
void commitWork(int queue);
void waitForWork(int queue, int pending);

/// 64 bytes of this lane that the others of its warp see between two syncWarp.
unsigned *slot(int lane);

} // namespace emulator
