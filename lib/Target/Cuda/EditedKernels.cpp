//===- EditedKernels.cpp - see EditedKernels.h --------------------------------------------------------------------===//
//
// Not a parser of C++: enough of its tokens to find the heads of kernels. What it does not understand, the compiler
// will.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Target/Cuda/EditedKernels.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace flame;
using namespace flame::cuda;
using llvm::StringRef;

namespace {

struct Token {
  StringRef text;
  unsigned line;
};

bool isWord(StringRef text) { return llvm::isAlpha(text[0]) || text[0] == '_'; }

/// Words, numbers, strings and single punctuation characters; no comments, no preprocessor lines.
std::vector<Token> tokenize(StringRef source) {
  std::vector<Token> out;
  unsigned line = 1;
  bool lineBegins = true;
  auto take = [&](size_t count) {
    line += source.take_front(count).count('\n');
    StringRef taken = source.take_front(count);
    source = source.drop_front(taken.size());
    return taken;
  };
  while (!source.empty()) {
    char c = source[0];
    if (c == '\n' || llvm::isSpace(c)) {
      lineBegins |= c == '\n';
      take(1);
    } else if (source.starts_with("//")) {
      take(source.find('\n'));
    } else if (source.starts_with("/*")) {
      size_t end = source.find("*/", 2);
      take(end == StringRef::npos ? end : end + 2);
    } else if (c == '#' && lineBegins) {
      size_t end = 0;
      do
        end = source.find('\n', end + 1);
      while (end != StringRef::npos && source[end - 1] == '\\');
      take(end);
    } else {
      lineBegins = false;
      size_t length = 1;
      if (c == '"' || c == '\'') {
        while (length < source.size() && source[length] != c && source[length] != '\n')
          length += source[length] == '\\' ? 2 : 1;
        ++length;
      } else if (llvm::isAlnum(c) || c == '_') {
        while (length < source.size() && (llvm::isAlnum(source[length]) || source[length] == '_'))
          ++length;
      }
      unsigned at = line;
      out.push_back({take(length), at});
    }
  }
  return out;
}

/// The index behind the bracket that closes the one at `open`.
size_t closing(llvm::ArrayRef<Token> tokens, size_t open) {
  int depth = 0;
  for (size_t i = open; i < tokens.size(); ++i) {
    StringRef t = tokens[i].text;
    depth += t == "(" || t == "[" || t == "{";
    depth -= t == ")" || t == "]" || t == "}";
    if (depth == 0)
      return i + 1;
  }
  return tokens.size();
}

std::string parameterType(llvm::ArrayRef<Token> tokens) {
  llvm::SmallVector<StringRef> words;
  for (const Token &token : tokens)
    if (!llvm::is_contained({"const", "__restrict__", "__restrict", "volatile"}, token.text))
      words.push_back(token.text);
  // The last word is the name, unless it is all there is or belongs to the type.
  static constexpr StringRef types[] = {"int",    "long",     "short",  "char", "float",
                                        "double", "unsigned", "signed", "bool"};
  if (words.size() > 1 && isWord(words.back()) && !llvm::is_contained(types, words.back()))
    words.pop_back();
  std::string type;
  for (StringRef word : words)
    type += (!type.empty() && isWord(word) ? " " : "") + word.str();
  return type;
}

} // namespace

std::vector<Signature> flame::cuda::signaturesOf(StringRef source) {
  std::vector<Token> tokens = tokenize(source);
  std::vector<Signature> found;
  size_t start = 0; // of the declaration
  bool global = false, linkage = false, inLinkage = false;
  int threads = 0;
  auto newDeclaration = [&](size_t at) {
    start = at;
    global = linkage = false;
    threads = 0;
  };
  for (size_t i = 0; i < tokens.size();) {
    StringRef t = tokens[i].text;
    if (t == ";" || t == "}") {
      inLinkage &= t != "}";
      newDeclaration(++i);
    } else if (t == "{") {
      // What stands in `extern "C" { … }` is as good as outside; everything else in braces is skipped.
      if (linkage && i == start + 2) {
        inLinkage = true;
        newDeclaration(++i);
      } else {
        i = closing(tokens, i);
        newDeclaration(i);
      }
    } else if (t == "__launch_bounds__" && i + 2 < tokens.size() && tokens[i + 1].text == "(") {
      if (tokens[i + 2].text.getAsInteger(10, threads))
        threads = 0;
      i = closing(tokens, i + 1);
    } else if (t == "(" && global && i > start && isWord(tokens[i - 1].text)) {
      size_t end = closing(tokens, i);
      if (end < tokens.size() && tokens[end].text == "{" && (linkage || inLinkage)) {
        Signature signature{tokens[i - 1].text.str(), {}, threads, tokens[i - 1].line};
        llvm::ArrayRef<Token> parameters = llvm::ArrayRef(tokens).slice(i + 1, end - i - 2);
        while (!parameters.empty()) {
          size_t comma =
              llvm::find_if(parameters, [](const Token &token) { return token.text == ","; }) - parameters.begin();
          signature.parameters.push_back(parameterType(parameters.take_front(comma)));
          parameters = parameters.drop_front(std::min(comma + 1, parameters.size()));
        }
        found.push_back(std::move(signature));
      }
      i = end;
    } else if (t == "(" || t == "[") {
      i = closing(tokens, i);
    } else {
      global |= t == "__global__";
      linkage |= t == "extern" && i + 1 < tokens.size() && tokens[i + 1].text == "\"C\"";
      ++i;
    }
  }
  return found;
}

llvm::Expected<Unit> flame::cuda::checkEditedKernels(StringRef path, StringRef edited, StringRef generated) {
  std::vector<Signature> wanted = signaturesOf(generated), given = signaturesOf(edited);
  std::vector<std::string> errors;
  auto list = [](const std::vector<std::string> &types) { return "(" + llvm::join(types, ", ") + ")"; };
  for (const Signature &kernel : wanted) {
    auto same = [&](const Signature &other) { return other.symbol == kernel.symbol; };
    auto found = llvm::find_if(given, same);
    if (found == given.end()) {
      errors.push_back(
          path.str() + ": the kernel '" + kernel.symbol +
          "' is missing; it must be defined as extern \"C\" __global__, as `flamec compile --emit=cuda` prints it "
          "for this model");
      continue;
    }
    std::string where = path.str() + ":" + std::to_string(found->line) + ": the kernel '" + kernel.symbol + "' ";
    if (llvm::count_if(given, same) > 1)
      errors.push_back(where + "is defined more than once");
    else if (found->parameters != kernel.parameters)
      errors.push_back(where + "takes " + list(found->parameters) + ", the model calls it with " +
                       list(kernel.parameters) + "; parameters must stay as they were");
    else if (found->threads && found->threads < kernel.threads)
      errors.push_back(where + "is bound to " + std::to_string(found->threads) +
                       " threads of a block, the model launches it with " + std::to_string(kernel.threads));
  }
  if (!errors.empty())
    return llvm::createStringError(llvm::join(errors, "\n"));
  Unit unit;
  unit.source = edited.str();
  unit.file = path.str();
  for (const Signature &kernel : given)
    unit.parts.push_back({kernel.symbol, "edited", kernel.line});
  return unit;
}

llvm::Expected<Unit> flame::cuda::readEditedKernels(StringRef path, const Emitter &emitter) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!file)
    return llvm::createStringError(path.str() + ": can't be read: " + file.getError().message());
  StringRef text = (*file)->getBuffer();
  constexpr size_t kMaxBytes = 256 << 20;
  if (text.size() > kMaxBytes || text.contains('\0'))
    return llvm::createStringError(
        path.str() + ": is no CUDA source; --kernels takes the text of `flamec compile --emit=cuda`, edited");
  return checkEditedKernels(path, text, emitter.source());
}
