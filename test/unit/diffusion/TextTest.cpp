//===- TextTest.cpp - JSON, Unicode, and the models of tokens --------------===//

#include "AddedTokens.h"
#include "Charsmap.h"
#include "Error.h"
#include "Json.h"
#include "SentencePieceModel.h"
#include "Unicode.h"
#include "Unigram.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace flame;
using namespace flame::diffusion;

namespace {

std::string message(const std::function<void()> &function) {
  try {
    function();
  } catch (const rt::Error &error) {
    return error.message;
  }
  return "no error";
}

TEST(Json, NamesThePlaceOfAnError) {
  const Json json = Json::parse(R"({"a": {"b": [1, "x", 2.5, null]}, "t": true})", "f.json");
  EXPECT_EQ(json.at("a").at("b").at(0).integer(0, 5), 1);
  EXPECT_EQ(message([&] { json.at("a").at("b").at(1).number(); }), "f.json: a.b[1] must be a number, not string");
  EXPECT_EQ(message([&] { json.at("a").at("b").at(2).integer(0, 9); }),
            "f.json: a.b[2] must be an integer from 0 to 9");
  EXPECT_EQ(message([&] { json.at("a").at("b").at(7); }), "f.json: a.b has 4 elements; at least 8 are expected");
  EXPECT_EQ(message([&] { json.at("a").at("c"); }), "f.json: a lacks 'c'");
  EXPECT_EQ(message([&] { json.at("t").at("c"); }), "f.json: t must be an object, not boolean");
  EXPECT_EQ(json.number("missing", 4.5), 4.5);
}

TEST(Json, RefusesWhatOthersAccept) {
  EXPECT_EQ(message([] { Json::parse(R"({"a": {"x": 1, "x": 2}})", "f"); }),
            "f: the name 'x' occurs twice in one object");
  EXPECT_EQ(message([] { Json::parse(R"([{"a": 1}, {"a": 2}])", "f"); }), "no error");
  EXPECT_EQ(message([] { Json::parse(std::string(1 << 20, '['), "f"); }), "f: nested deeper than 64 levels");
  for (const char *bad : {"", "{", "[1,]", "{} x", "\"\xff\"", "nul", "{\"a\":1"})
    EXPECT_EQ(message([&] { Json::parse(bad, "f"); }).substr(0, 14), "f: no valid JS") << bad;
  // An error's text is UTF-8, whatever the file holds.
  EXPECT_EQ(unicode::firstInvalid(message([] { Json::parse("\"\xff\"", "f"); })), std::string::npos);
}

TEST(Unicode, FindsTheFirstInvalidByte) {
  EXPECT_EQ(unicode::firstInvalid("aä€🦊"), std::string::npos);
  const std::pair<const char *, size_t> cases[] = {
      {"\x80", 0},         {"a\xC1\x81", 1},          {"\xE0\x80\x80", 0},
      {"\xED\xA0\x80", 0}, {"ab\xF4\x90\x80\x80", 2}, {"\xF5\x80\x80\x80", 0},
      {"\xE2\x82", 0},     {"\xF0\x9F\xA6", 0},       {"\xC3(", 0}};
  for (const auto &[text, at] : cases)
    EXPECT_EQ(unicode::firstInvalid(text), at);
}

TEST(Unicode, Composes) {
  EXPECT_EQ(unicode::compose("e\u0301"), "é");
  EXPECT_EQ(unicode::compose("q\u0307\u0323"), "q\u0323\u0307"); // reordered, nothing to join
  EXPECT_EQ(unicode::compose("a\u0323\u0308"), "\u1EA1\u0308");  // the first mark joins
  EXPECT_EQ(unicode::compose("\u1100\u1161\u11A8"), "각");       // Hangul
  EXPECT_EQ(unicode::compose("\u212B"), "Å");                    // a singleton
  EXPECT_EQ(unicode::compose("\u0958"), "\u0915\u093C");         // excluded from composition
  EXPECT_EQ(unicode::compose("a\u0315\u0300"), "à\u0315");
}

TEST(Unicode, LowersEveryCharacterByItself) {
  EXPECT_EQ(unicode::lower("ÀÉ ΑΣ"), "àé ασ"); // no final sigma
  EXPECT_EQ(unicode::lower("\u0130"), "i\u0307");
}

TEST(Unicode, EndsGraphemes) {
  const auto first = [](std::string_view text) { return text.substr(0, unicode::graphemeEnd(text, 0)); };
  for (const char *cluster :
       {"a", "\r\n", "e\u0301\u0323", "\u1100\u1161\u11A8", "\u0600a", "👩\u200D👩", "🇩🇪", "©\u200D©"})
    EXPECT_EQ(first(std::string(cluster) + "x"), cluster);
  EXPECT_EQ(first("🇩🇪🇫"), "🇩🇪");
  EXPECT_EQ(first("\u200Da"), "\u200D");
  EXPECT_EQ(first("\na"), "\n");
}

TEST(Unigram, TakesTheBestSum) {
  const Unigram model(
      {{"<unk>", 0}, {"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}, {"cd", 1}, {"ab", 2}, {"abc", 5}, {"abcd", 10}}, 0);
  std::vector<int32_t> ids;
  model.encode("abcdacdxx", ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{8, 1, 5, 0})); // neighbours that nothing covers are one token
  ids.clear();
  model.encode("", ids);
  model.encode("é", ids);
  EXPECT_EQ(ids, std::vector<int32_t>{0});
}

TEST(Charsmap, DamageIsAnErrorOrChangesNothing) {
  const auto blob = [](std::vector<uint32_t> units, const std::string &texts) {
    std::string out(4 + units.size() * 4, '\0');
    const auto bytes = static_cast<uint32_t>(units.size() * 4);
    std::memcpy(out.data(), &bytes, 4);
    std::memcpy(out.data() + 4, units.data(), bytes);
    return out + texts;
  };
  for (const std::string &bad : {std::string(), std::string("\x01\0\0\0x", 5), std::string("\xff\xff\xff\x7f____", 8),
                                 std::string(4, '\0'), blob({0, 0}, "\xff")})
    EXPECT_NE(message([&] { Charsmap(bad, "f"); }).find("f: the normaliser's character map is damaged"),
              std::string::npos);
  // Units that lead out of the trie, and to texts that are not there.
  EXPECT_EQ(Charsmap(blob({0xFFFFFFFF, 0}, ""), "f").normalize("abc"), "abc");
  std::vector<uint32_t> units(128, 0);
  units[0] = 0;                          // the root's children begin at 0
  units['a'] = 'a' | 1u << 8 | 1u << 10; // ends a key; its value is one unit away
  units['a' ^ 1] = 1u << 31 | 77;        // beyond the texts
  EXPECT_EQ(Charsmap(blob(units, "x"), "f").normalize("abc"), "abc");
  units['a' ^ 1] = 1u << 31 | 0;
  EXPECT_EQ(Charsmap(blob(units, std::string("xyz\0", 4)), "f").normalize("abca"), "xyzbcxyz");
}

TEST(SentencePieceModel, RefusesOtherModels) {
  // model_type 2 in the trainer's part
  EXPECT_NE(message([] {
              SentencePieceModel(std::string("\x0a\x03\x0a\x01\x61\x12\x02\x18\x02", 9), "f");
            }).find("only unigram"),
            std::string::npos);
  const SentencePieceModel model(std::string("\x0a\x08\x0a\x01\x61\x15\x00\x00\x80\xbf", 10), "f");
  ASSERT_EQ(model.pieces.size(), 1u);
  EXPECT_EQ(model.pieces[0].text, "a");
  EXPECT_EQ(model.pieces[0].score, -1);
}

TEST(AddedTokens, TakeWhiteSpaceAlong) {
  std::vector<AddedToken> tokens = {{"<a>", false, true, false, 1},
                                    {"<b>", false, false, true, 2},
                                    {"<bb>", true, false, false, 3},
                                    {"<a><", false, false, false, 4}};
  const AddedTokens added(tokens, [](std::string_view text) { return unicode::lower(text); });
  std::vector<std::pair<std::string, int32_t>> parts;
  for (const TextPart &part : added.split("X \u3000<a>Y <b> \n Z <BB><a><b>"))
    parts.emplace_back(part.text, part.id);
  const std::vector<std::pair<std::string, int32_t>> expected = {
      {"x", -1}, {" \u3000<a>", 1}, {"y ", -1}, {"<b> \n ", 2}, {"z ", -1}, {"<bb>", 3}, {"<a><", 4}, {"b>", -1}};
  EXPECT_EQ(parts, expected);
}

} // namespace
