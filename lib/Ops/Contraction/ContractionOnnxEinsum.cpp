//===- ContractionOnnxEinsum.cpp - Einsum as products, sums and transposes --------------------------------------------===//
//
// Operands are combined two at a time, from the left. A label that neither the result nor a later operand needs is summed:
// within one operand by a reduction, across both by a matrix product. The dims of an ellipsis are labels too, numbered from
// the right, so that they broadcast like numpy's.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Import/OnnxNode.h"
#include "flame/Ops/Pointwise.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace flame;

namespace {

/// Letters are their characters, the dims of an ellipsis −1 (rightmost), −2, …
using Label = int;
using Labels = SmallVector<Label>;

struct Term {
  Value value;
  Labels labels;
};

class Einsum {
public:
  explicit Einsum(OnnxNode &n) : n(n) {}

  Value build(StringRef equation) {
    std::string text;
    for (char c : equation)
      if (!isspace(static_cast<unsigned char>(c)))
        text += c;
    auto [left, right] = StringRef(text).split("->");
    bool explicitResult = StringRef(text).contains("->");
    SmallVector<StringRef> parts;
    left.split(parts, ',');
    if (parts.size() != n.numInputs())
      fail(equation, "has " + Twine(parts.size()) + " terms, the node has " + Twine(n.numInputs()) + " inputs");
    SmallVector<Term> terms;
    for (auto [i, part] : llvm::enumerate(parts))
      terms.push_back({n.input(i), parse(equation, part, n.rank(n.input(i)))});
    Labels result = explicitResult ? parse(equation, right, std::nullopt) : implicitResult(terms);
    for (auto [i, label] : llvm::enumerate(result)) {
      if (llvm::is_contained(ArrayRef<Label>(result).take_front(i), label))
        fail(equation, "names a dim of the result twice");
      if (llvm::none_of(terms, [&](Term &t) { return llvm::is_contained(t.labels, label); }))
        fail(equation, "names a dim of the result that no input has");
    }

    for (Term &term : terms)
      takeDiagonals(term);
    Term sum = terms[0];
    for (size_t i = 1; i <= terms.size(); ++i) {
      // Labels that are still needed.
      Labels needed = result;
      for (size_t j = i; j < terms.size(); ++j)
        llvm::append_range(needed, terms[j].labels);
      sumAway(sum, needed);
      if (i == terms.size())
        break;
      Labels later = result;
      for (size_t j = i + 1; j < terms.size(); ++j)
        llvm::append_range(later, terms[j].labels);
      Labels mine = later;
      llvm::append_range(mine, sum.labels);
      sumAway(terms[i], mine);
      sum = combine(sum, terms[i], later);
    }
    return arrange(sum, result).value;
  }

private:
  OnnxNode &n;
  unsigned ellipsisRank = 0;

  [[noreturn]] void fail(StringRef equation, const Twine &why) { n.fail("equation \"" + equation + "\" " + why); }

  /// The labels of a term; an ellipsis stands for the dims beyond the letters, in the result for all there are.
  Labels parse(StringRef equation, StringRef text, std::optional<int64_t> rank) {
    Labels labels;
    int64_t letters = 0;
    for (char c : text)
      letters += isalpha(static_cast<unsigned char>(c)) != 0;
    bool seen = false;
    for (size_t i = 0; i < text.size(); ++i) {
      if (isalpha(static_cast<unsigned char>(text[i]))) {
        labels.push_back(text[i]);
        continue;
      }
      if (seen || !text.substr(i).starts_with("..."))
        fail(equation, "has an unexpected '" + Twine(text[i]) + "'");
      seen = true;
      i += 2;
      int64_t dims = rank ? *rank - letters : ellipsisRank;
      if (dims < 0)
        fail(equation, "has " + Twine(letters) + " labels for an input of rank " + Twine(*rank));
      ellipsisRank = std::max<unsigned>(ellipsisRank, dims);
      for (int64_t d = dims; d > 0; --d)
        labels.push_back(-d);
    }
    if (rank && int64_t(labels.size()) != *rank)
      fail(equation, "has " + Twine(labels.size()) + " labels for an input of rank " + Twine(*rank));
    return labels;
  }

  /// The ellipsis' dims, then the labels that occur once, in order of the alphabet.
  Labels implicitResult(ArrayRef<Term> terms) {
    Labels result, letters;
    for (int d = ellipsisRank; d > 0; --d)
      result.push_back(-d);
    for (Label c = 'A'; c <= 'z'; ++c) {
      int64_t uses = 0;
      for (const Term &term : terms)
        uses += llvm::count(term.labels, c);
      if (uses == 1)
        letters.push_back(c);
    }
    llvm::append_range(result, letters);
    return result;
  }

  /// A label twice in one term: the diagonal, that is everything beside it put to zero and summed away.
  void takeDiagonals(Term &term) {
    for (size_t i = 0; i < term.labels.size(); ++i)
      for (size_t j = i + 1; j < term.labels.size();) {
        if (term.labels[i] != term.labels[j]) {
          ++j;
          continue;
        }
        int64_t rank = n.rank(term.value);
        auto positions = [&](size_t axis) {
          SmallVector<int64_t> axes;
          for (int64_t d = 1; d < rank - int64_t(axis); ++d)
            axes.push_back(d);
          Value iota = n.iota(n.dim(term.value, axis), n.b.getI64Type());
          return axes.empty() ? iota : n.unsqueeze(iota, axes);
        };
        Value zero = n.scalarLike(term.value, 0);
        term.value = n.sum(n.where(n.equal(positions(i), positions(j)), term.value, zero), {int64_t(j)}, false);
        term.labels.erase(term.labels.begin() + j);
      }
  }

  void sumAway(Term &term, ArrayRef<Label> needed) {
    SmallVector<int64_t> axes;
    Labels kept;
    for (auto [i, label] : llvm::enumerate(term.labels)) {
      if (llvm::is_contained(needed, label))
        kept.push_back(label);
      else
        axes.push_back(i);
    }
    if (axes.empty())
      return;
    term.value = n.sum(term.value, axes, false);
    term.labels = kept;
  }

  /// Transposes to an order of labels and puts dims of one element where a label is missing.
  Term arrange(const Term &term, ArrayRef<Label> order) {
    SmallVector<int64_t> permutation, missing;
    for (auto [i, label] : llvm::enumerate(order)) {
      auto it = llvm::find(term.labels, label);
      if (it == term.labels.end())
        missing.push_back(i);
      else
        permutation.push_back(it - term.labels.begin());
    }
    Value value = term.value;
    if (!llvm::is_sorted(permutation))
      value = n.transpose(value, permutation);
    if (!missing.empty())
      value = n.unsqueeze(value, missing);
    return {value, Labels(order)};
  }

  Term combine(const Term &x, const Term &y, ArrayRef<Label> needed) {
    Labels batch, left, right, inner;
    for (Label label : x.labels) {
      if (!llvm::is_contained(y.labels, label) && label >= 0)
        left.push_back(label);
      else if (llvm::is_contained(needed, label) || label < 0)
        batch.push_back(label);
      else
        inner.push_back(label);
    }
    for (Label label : y.labels)
      if (!llvm::is_contained(x.labels, label)) {
        if (label < 0)
          batch.push_back(label);
        else
          right.push_back(label);
      }
    // The dims of an ellipsis line up whichever operand has more of them.
    llvm::stable_sort(batch, [](Label a, Label b) { return a < 0 && b < 0 ? a < b : a < 0 && b >= 0; });
    if (inner.empty()) {
      Labels all = batch;
      llvm::append_range(all, left);
      llvm::append_range(all, right);
      return {n.mul(arrange(x, all).value, arrange(y, all).value), all};
    }
    auto sizes = [&](const Term &term, ArrayRef<Label> labels) {
      SmallVector<DimExpr> dims;
      for (Label label : labels)
        dims.push_back(n.dim(term.value, llvm::find(term.labels, label) - term.labels.begin()));
      return dims;
    };
    auto product = [&](ArrayRef<DimExpr> dims) {
      DimExpr size = n.shapes.constant(1);
      for (DimExpr dim : dims)
        size = size * dim;
      return size;
    };
    // [batch…, rows, inner] times [batch…, inner, columns]; batch dims stay apart, so that they may broadcast.
    auto matrix = [&](const Term &term, ArrayRef<Label> rows, ArrayRef<Label> columns) {
      Labels order = batch;
      llvm::append_range(order, rows);
      llvm::append_range(order, columns);
      Value value = arrange(term, order).value;
      SmallVector<DimExpr> dims(n.dims(value).take_front(batch.size()));
      dims.push_back(product(sizes(term, rows)));
      dims.push_back(product(sizes(term, columns)));
      return n.reshape(value, dims);
    };
    Value result = n.matmul(matrix(x, left, inner), matrix(y, inner, right));
    SmallVector<DimExpr> dims(n.dims(result).take_front(batch.size()));
    llvm::append_range(dims, sizes(x, left));
    llvm::append_range(dims, sizes(y, right));
    Labels all = batch;
    llvm::append_range(all, left);
    llvm::append_range(all, right);
    return {n.reshape(result, dims), all};
  }
};

} // namespace

namespace flame {
void importEinsum(OnnxNode &n) { n.setOutput(0, Einsum(n).build(n.stringAttr("equation"))); }
} // namespace flame
