//===- DeflateTest.cpp - deflate streams, read by zlib ----------------------===//
#include "Deflate.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <zlib.h>

using flame::diffusion::deflated;

namespace {

using Bytes = std::vector<uint8_t>;

/// What zlib makes of a raw stream, which must end where its bytes do.
Bytes inflated(const Bytes &stream, size_t size) {
  z_stream z{};
  EXPECT_EQ(inflateInit2(&z, -MAX_WBITS), Z_OK);
  Bytes out(size + 1);
  z.next_in = const_cast<uint8_t *>(stream.data());
  z.avail_in = static_cast<uInt>(stream.size());
  z.next_out = out.data();
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&z, Z_FINISH), Z_STREAM_END) << (z.msg ? z.msg : "");
  EXPECT_EQ(z.avail_in, 0u);
  out.resize(z.total_out);
  inflateEnd(&z);
  return out;
}

/// In parts of these sizes; the last one takes the rest.
void expectSame(const Bytes &data, std::vector<size_t> parts = {}) {
  Bytes stream;
  size_t at = 0;
  parts.push_back(data.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t size = std::min(parts[i], data.size() - at);
    const Bytes part = deflated({data.data() + at, size}, i + 1 == parts.size());
    stream.insert(stream.end(), part.begin(), part.end());
    at += size;
  }
  EXPECT_TRUE(inflated(stream, data.size()) == data) << data.size() << " bytes in " << parts.size() << " parts";
}

} // namespace

TEST(Deflate, EverySmallSize) {
  std::mt19937 random(1);
  for (size_t size = 0; size < 600; ++size)
    for (unsigned symbols : {1, 2, 256}) {
      Bytes data(size);
      for (uint8_t &byte : data)
        byte = static_cast<uint8_t>(random() % symbols);
      expectSame(data);
      expectSame(data, {0, size / 3, 1});
    }
}

TEST(Deflate, RunsOfEveryLength) {
  Bytes data;
  for (size_t length = 1; length < 800; ++length)
    data.insert(data.end(), length, static_cast<uint8_t>(length * 37));
  expectSame(data);
  expectSame(data, {1000, 65536, 65537, 3});
  EXPECT_LT(deflated(Bytes(1 << 20), true).size(), 3000u);
}

TEST(Deflate, SymbolsTooRareForTheLongestCode) {
  // Counts as Fibonacci's numbers make a code of one bit a symbol, up to 22 bits long.
  Bytes data;
  for (uint32_t i = 0, a = 1, b = 1; i < 23; ++i, std::swap(a, b), b += a)
    data.insert(data.end(), a, static_cast<uint8_t>(i));
  std::shuffle(data.begin(), data.end(), std::mt19937(2));
  data.resize(60000);
  expectSame(data);
}

TEST(Deflate, NoiseIsAsSmallAsByZlib) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 3);
  Bytes data(300000);
  for (uint8_t &byte : data)
    byte = static_cast<uint8_t>(static_cast<int>(normal(random)));
  expectSame(data, {100000, 100001});
  z_stream z{};
  ASSERT_EQ(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_RLE), Z_OK);
  Bytes theirs(deflateBound(&z, data.size()));
  z.next_in = data.data();
  z.avail_in = static_cast<uInt>(data.size());
  z.next_out = theirs.data();
  z.avail_out = static_cast<uInt>(theirs.size());
  ASSERT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  EXPECT_LT(deflated(data, true).size(), z.total_out * 101 / 100);
  deflateEnd(&z);
  // What can't be compressed hardly grows.
  for (uint8_t &byte : data)
    byte = static_cast<uint8_t>(random());
  expectSame(data);
  EXPECT_LT(deflated(data, true).size(), data.size() * 1005 / 1000);
}
