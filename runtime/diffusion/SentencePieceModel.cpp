//===- SentencePieceModel.cpp - spiece.model -------------------------------===//
//
// Reads the fields of sentencepiece_model.proto that matter here, by their published numbers. A protocol buffer library
// for these few would be larger than all of the tokenizers.
//
//===----------------------------------------------------------------------===//

#include "SentencePieceModel.h"

#include "Error.h"
#include "Unicode.h"

#include <cmath>
#include <cstring>

namespace flame::diffusion {

namespace {

/// The fields of one message.
class Message {
public:
  Message(std::string_view bytes, const std::string &file) : bytes(bytes), file(file) {}

  [[noreturn]] void fail(const char *problem) const {
    rt::fail(FLAME_BAD_DATA, file, " is no sentencepiece model, or a damaged one: ", problem);
  }

  /// Goes to the next field; false at the end.
  bool next() {
    if (at == bytes.size())
      return false;
    const uint64_t key = varint();
    number = static_cast<uint32_t>(key >> 3);
    switch (key & 7) {
    case 0:
      value = varint();
      kind = 0;
      break;
    case 1:
      take(8);
      kind = 1;
      break;
    case 2:
      content = take(varint());
      kind = 2;
      break;
    case 5:
      content = take(4);
      kind = 5;
      break;
    default:
      fail("a field of an unknown kind");
    }
    if (number == 0)
      fail("a field without a number");
    return true;
  }

  uint32_t field() const { return number; }
  uint64_t integer() const { return expect(0), value; }
  std::string_view block() const { return expect(2), content; }
  float real() const {
    expect(5);
    float f;
    std::memcpy(&f, content.data(), sizeof f);
    return f;
  }

private:
  void expect(int wanted) const {
    if (kind != wanted)
      fail("a field of the wrong kind");
  }
  std::string_view take(uint64_t count) {
    if (count > bytes.size() - at)
      fail("a field is longer than what contains it");
    at += count;
    return bytes.substr(at - count, count);
  }
  uint64_t varint() {
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      result |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80)
        return result;
    }
    fail("a number of more than 64 bits");
  }

  std::string_view bytes, content;
  const std::string &file;
  size_t at = 0;
  uint64_t value = 0;
  uint32_t number = 0;
  int kind = 0;
};

constexpr uint64_t kUnigram = 1;

} // namespace

SentencePieceModel::SentencePieceModel(std::string_view bytes, const std::string &file) {
  enum { Pieces = 1, TrainerSpec = 2, NormalizerSpec = 3 };
  Message model(bytes, file);
  uint64_t unknownId = 0, type = kUnigram;
  while (model.next())
    if (model.field() == Pieces) {
      Message message(model.block(), file);
      Piece piece{"", 0};
      while (message.next())
        if (message.field() == 1)
          piece.text = message.block();
        else if (message.field() == 2)
          piece.score = message.real();
      if (!std::isfinite(piece.score) || unicode::firstInvalid(piece.text) != std::string::npos)
        model.fail("a piece whose text is no valid UTF-8, or whose score is no number");
      pieces.push_back(std::move(piece));
    } else if (model.field() == TrainerSpec) {
      Message message(model.block(), file);
      while (message.next())
        if (message.field() == 3)
          type = message.integer();
        else if (message.field() == 40)
          unknownId = message.integer();
    } else if (model.field() == NormalizerSpec) {
      Message message(model.block(), file);
      while (message.next())
        if (message.field() == 2)
          charsmap = message.block();
    }
  if (type != kUnigram)
    rt::fail(FLAME_UNSUPPORTED, file, ": only unigram models are supported, and its model_type is ", type);
  if (pieces.empty())
    model.fail("it has no pieces");
  if (unknownId >= pieces.size())
    model.fail("the id of the unknown piece is none of a piece");
  unknown = static_cast<int32_t>(unknownId);
}

} // namespace flame::diffusion
