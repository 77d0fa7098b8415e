//===- MlOnnxTrees.cpp - ai.onnx.ml: ensembles of decision trees ------------------------------------------------------===//
//
// All trees descend together: a matrix [samples, trees] holds the node each sample has reached, a loop takes as many steps
// as the deepest tree has levels, and leaves lead to themselves. The leaves' weights are rows of one table.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "MlOnnx.h"
#include <cmath>
#include <limits>
#include <map>

using namespace mlir;
using namespace flame;
using llvm::Twine;

namespace {

enum Mode : int64_t { LessEqual, Less, GreaterEqual, Greater, Equal, NotEqual, Leaf };

struct Node {
  int64_t feature = 0, mode = Leaf, onTrue = 0, onFalse = 0;
  double split = 0;
  bool missingIsTrue = false;
};

struct Ensemble {
  std::vector<Node> nodes;
  std::vector<int64_t> roots;
  int64_t targets = 0;
  /// Per node and target: the leaf's weight; NaN where it says nothing of the target.
  std::vector<double> weights;

  void resizeWeights(OnnxNode &n) {
    if (targets < 1 || targets > (1 << 24) || nodes.size() * targets > (size_t(1) << 26))
      n.fail("has " + Twine(nodes.size()) + " nodes and " + Twine(targets) + " targets, which is no table of a sensible size");
    weights.assign(nodes.size() * targets, std::nan(""));
  }
  void addWeight(OnnxNode &n, int64_t node, int64_t target, double weight) {
    if (target < 0 || target >= targets)
      n.fail("a leaf names target " + Twine(target) + ", there are " + Twine(targets));
    double &slot = weights[node * targets + target];
    slot = std::isnan(slot) ? weight : slot + weight;
  }

  /// Levels of the deepest tree; fails on links out of range and on cycles.
  int64_t depth(OnnxNode &n) const {
    int64_t count = nodes.size();
    for (const Node &node : nodes)
      if (node.onTrue < 0 || node.onTrue >= count || node.onFalse < 0 || node.onFalse >= count)
        n.fail("a tree node leads to node " + Twine(node.onTrue < 0 || node.onTrue >= count ? node.onTrue : node.onFalse) +
               ", there are " + Twine(count));
    std::vector<int64_t> height(count, -1); // -2: being visited
    std::vector<std::pair<int64_t, int>> stack;
    int64_t deepest = 0;
    for (int64_t root : roots) {
      if (root < 0 || root >= count)
        n.fail("a tree's root is node " + Twine(root) + ", there are " + Twine(count));
      if (height[root] < 0)
        stack.push_back({root, 0});
      while (!stack.empty()) {
        auto &[at, next] = stack.back();
        const Node &node = nodes[at];
        if (node.mode == Leaf) {
          height[at] = 0;
          stack.pop_back();
          continue;
        }
        height[at] = -2;
        if (next == 2) {
          height[at] = 1 + std::max(height[node.onTrue], height[node.onFalse]);
          stack.pop_back();
          continue;
        }
        int64_t child = next++ == 0 ? node.onTrue : node.onFalse;
        if (height[child] == -2)
          n.fail("a tree node is its own descendant; trees must be acyclic");
        if (height[child] == -1)
          stack.push_back({child, 0});
      }
      deepest = std::max(deepest, height[root]);
    }
    return deepest;
  }
};

/// The node each sample ends at in each tree: i64 [samples, trees].
Value descend(OnnxNode &n, Value x, const Ensemble &ensemble) {
  int64_t depth = ensemble.depth(n), trees = ensemble.roots.size();
  Type type = n.elementType(x);
  SmallVector<int64_t> features, modes, onTrue, onFalse, missing;
  SmallVector<double> splits;
  std::optional<int64_t> mode;
  bool oneMode = true, anyMissing = false;
  for (const Node &node : ensemble.nodes) {
    features.push_back(node.feature);
    modes.push_back(node.mode);
    onTrue.push_back(node.onTrue);
    onFalse.push_back(node.onFalse);
    splits.push_back(node.split);
    missing.push_back(node.missingIsTrue);
    anyMissing |= node.missingIsTrue;
    if (node.mode != Leaf) {
      oneMode &= !mode || *mode == node.mode;
      mode = node.mode;
    }
    if (auto width = n.dim(x, 1).constant(); node.feature < 0 || (width && node.feature >= *width && node.mode != Leaf))
      n.fail("a tree node looks at feature " + Twine(node.feature) + ", there are " + n.dim(x, 1).str());
  }
  Value start = n.expand(n.reshape(n.i64(ensemble.roots), {1, trees}), ArrayRef<DimExpr>{n.dim(x, 0), n.shapes.constant(trees)});
  if (depth == 0)
    return start;
  Value featureTable = n.i64(features), trueTable = n.i64(onTrue), falseTable = n.i64(onFalse), modeTable = n.i64(modes);
  Value splitTable = floatVector(n, type, splits), missingTable = n.i64(missing);
  return buildLoop(n, n.i64Scalar(depth), {}, start, [&](const LoopArguments &arguments) {
    Value at = arguments.carried[0];
    Value feature = n.create("flame.gather_elements", {x, n.gather(featureTable, at, 0)}, n.attr("axis", int64_t(1)))->getResult(0);
    Value split = n.gather(splitTable, at, 0);
    auto compare = [&](int64_t kind) {
      switch (kind) {
      case LessEqual:
        return n.lessEqual(feature, split);
      case Less:
        return n.less(feature, split);
      case GreaterEqual:
        return n.greaterEqual(feature, split);
      case Greater:
        return n.greater(feature, split);
      case Equal:
        return n.equal(feature, split);
      default:
        return n.logicalNot(n.equal(feature, split));
      }
    };
    Value taken;
    if (oneMode) {
      taken = compare(*mode);
    } else {
      Value modeHere = n.gather(modeTable, at, 0);
      taken = compare(NotEqual);
      for (int64_t kind = LessEqual; kind < NotEqual; ++kind)
        taken = n.where(n.equal(modeHere, n.i64Scalar(kind)), compare(kind), taken);
    }
    if (anyMissing) {
      Value tracksTrue = n.logicalNot(n.equal(n.gather(missingTable, at, 0), n.i64Scalar(0)));
      taken = n.logicalOr(taken, n.logicalAnd(n.logicalNot(n.equal(feature, feature)), tracksTrue));
    }
    LoopYield yield;
    yield.carried.push_back(n.where(taken, n.gather(trueTable, at, 0), n.gather(falseTable, at, 0)));
    return yield;
  })[0];
}

/// The leaves' weights of all trees, aggregated: [samples, targets].
Value aggregate(OnnxNode &n, Value x, const Ensemble &ensemble, StringRef function) {
  Value leaves = descend(n, x, ensemble);
  Type type = n.elementType(x);
  double absent = 0;
  StringRef kind = "sum";
  if (function == "MIN" || function == "MAX") {
    kind = function == "MIN" ? "min" : "max";
    absent = function == "MIN" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
  } else if (function != "SUM" && function != "AVERAGE") {
    n.fail("aggregate_function '" + function + "' is unknown; it must be SUM, AVERAGE, MIN or MAX");
  }
  SmallVector<double> weights(ensemble.weights.begin(), ensemble.weights.end());
  for (double &weight : weights)
    if (std::isnan(weight))
      weight = absent;
  Value table = floatTensor(n, type, weights, {int64_t(ensemble.nodes.size()), ensemble.targets});
  Value y = n.reduce(kind, n.gather(table, leaves, 0), {1}, false);
  if (absent != 0) // no leaf spoke of the target
    y = n.where(n.equal(y, n.scalarLike(y, absent)), n.scalarLike(y, 0), y);
  if (function == "AVERAGE")
    y = n.div(y, n.scalarLike(y, double(ensemble.roots.size())));
  return y;
}

//===--- attributes ---===//

std::vector<double> numbersOf(OnnxNode &n, const std::string &name) {
  std::vector<double> numbers;
  ElementsAttr tensor = n.tensorAttr(name);
  if (!tensor)
    return numbers;
  auto dense = dyn_cast<DenseElementsAttr>(tensor);
  if (dense && isa<FloatType>(dense.getElementType())) {
    for (const APFloat &number : dense.getValues<APFloat>()) {
      APFloat wide = number;
      bool lost;
      wide.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
      numbers.push_back(wide.convertToDouble());
    }
  } else if (dense && isa<IntegerType>(dense.getElementType())) {
    for (const APInt &number : dense.getValues<APInt>())
      numbers.push_back(dense.getElementType().isUnsignedInteger() ? double(number.getZExtValue()) : double(number.getSExtValue()));
  } else {
    n.fail("attribute '" + name + "' must be a tensor of numbers");
  }
  return numbers;
}

/// `name`, or `name`_as_tensor.
std::vector<double> floatsOrTensor(OnnxNode &n, const std::string &name) {
  std::vector<double> numbers = numbersOf(n, name + "_as_tensor");
  if (numbers.empty()) {
    SmallVector<double> list = n.floatsAttr(name);
    numbers.assign(list.begin(), list.end());
  }
  return numbers;
}

void requireCount(OnnxNode &n, StringRef name, size_t actual, size_t expected) {
  if (actual != expected)
    n.fail("attribute '" + name + "' has " + Twine(actual) + " entries, it needs " + Twine(expected));
}

/// Nodes of TreeEnsembleClassifier and TreeEnsembleRegressor: addressed by (tree, node) ids; the first node of a tree is its
/// root.
Ensemble readTrees(OnnxNode &n, std::map<std::pair<int64_t, int64_t>, int64_t> &ids) {
  Ensemble ensemble;
  SmallVector<int64_t> trees = n.intsAttr("nodes_treeids"), nodes = n.intsAttr("nodes_nodeids");
  SmallVector<int64_t> features = n.intsAttr("nodes_featureids"), onTrue = n.intsAttr("nodes_truenodeids");
  SmallVector<int64_t> onFalse = n.intsAttr("nodes_falsenodeids"), missing = n.intsAttr("nodes_missing_value_tracks_true");
  std::vector<std::string> modes = n.stringsAttr("nodes_modes");
  std::vector<double> values = floatsOrTensor(n, "nodes_values");
  size_t count = trees.size();
  if (count == 0)
    n.fail("has no tree nodes");
  requireCount(n, "nodes_nodeids", nodes.size(), count);
  requireCount(n, "nodes_featureids", features.size(), count);
  requireCount(n, "nodes_truenodeids", onTrue.size(), count);
  requireCount(n, "nodes_falsenodeids", onFalse.size(), count);
  requireCount(n, "nodes_modes", modes.size(), count);
  requireCount(n, "nodes_values", values.size(), count);
  if (!missing.empty())
    requireCount(n, "nodes_missing_value_tracks_true", missing.size(), count);
  for (size_t i = 0; i < count; ++i) {
    if (!ids.emplace(std::pair(trees[i], nodes[i]), int64_t(i)).second)
      n.fail("tree " + Twine(trees[i]) + " has two nodes with the id " + Twine(nodes[i]));
    if (i == 0 || trees[i] != trees[i - 1])
      ensemble.roots.push_back(i);
  }
  const char *const names[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"};
  for (size_t i = 0; i < count; ++i) {
    Node node;
    node.mode = std::find(std::begin(names), std::end(names), modes[i]) - std::begin(names);
    if (node.mode > Leaf)
      n.fail("attribute 'nodes_modes' holds '" + modes[i] + "', which is no node kind");
    node.onTrue = node.onFalse = i;
    if (node.mode != Leaf) {
      auto child = [&](int64_t id) {
        auto found = ids.find({trees[i], id});
        if (found == ids.end())
          n.fail("node " + Twine(nodes[i]) + " of tree " + Twine(trees[i]) + " leads to node " + Twine(id) + ", which doesn't exist");
        return found->second;
      };
      node.onTrue = child(onTrue[i]);
      node.onFalse = child(onFalse[i]);
      node.feature = features[i];
      node.split = values[i];
      node.missingIsTrue = !missing.empty() && missing[i];
    }
    ensemble.nodes.push_back(node);
  }
  return ensemble;
}

void readWeights(OnnxNode &n, const std::string &prefix, const std::map<std::pair<int64_t, int64_t>, int64_t> &ids,
                 Ensemble &ensemble) {
  SmallVector<int64_t> trees = n.intsAttr(prefix + "_treeids"), nodes = n.intsAttr(prefix + "_nodeids"),
                       targets = n.intsAttr(prefix + "_ids");
  std::vector<double> weights = floatsOrTensor(n, prefix + "_weights");
  requireCount(n, prefix + "_nodeids", nodes.size(), trees.size());
  requireCount(n, prefix + "_ids", targets.size(), trees.size());
  requireCount(n, prefix + "_weights", weights.size(), trees.size());
  ensemble.resizeWeights(n);
  for (size_t i = 0; i < trees.size(); ++i) {
    auto node = ids.find({trees[i], nodes[i]});
    if (node == ids.end())
      n.fail("a weight belongs to node " + Twine(nodes[i]) + " of tree " + Twine(trees[i]) + ", which doesn't exist");
    ensemble.addWeight(n, node->second, targets[i], weights[i]);
  }
}

Value addBase(OnnxNode &n, Value y, int64_t targets) {
  std::vector<double> base = floatsOrTensor(n, "base_values");
  if (base.empty())
    return y;
  if (base.size() != 1)
    requireCount(n, "base_values", base.size(), targets);
  return n.add(y, floatVector(n, n.elementType(y), base));
}

//===--- the operators ---===//

void treeEnsembleRegressor(OnnxNode &n) {
  std::map<std::pair<int64_t, int64_t>, int64_t> ids;
  Ensemble ensemble = readTrees(n, ids);
  ensemble.targets = n.intAttr("n_targets", 1);
  readWeights(n, "target", ids, ensemble);
  Value y = aggregate(n, featureMatrix(n, n.input(0)), ensemble, n.stringAttr("aggregate_function", "SUM"));
  y = postTransform(n, addBase(n, y, ensemble.targets), n.stringAttr("post_transform", "NONE"));
  n.setOutput(0, n.cast(y, n.b.getF32Type()));
}

void treeEnsembleClassifier(OnnxNode &n) {
  std::map<std::pair<int64_t, int64_t>, int64_t> ids;
  Ensemble ensemble = readTrees(n, ids);
  SmallVector<int64_t> ints = n.intsAttr("classlabels_int64s");
  std::vector<std::string> strings = n.stringsAttr("classlabels_strings");
  int64_t classes = std::max(ints.size(), strings.size());
  if (classes < 2)
    n.fail("needs two class labels at least, has " + Twine(classes));
  ensemble.targets = classes;
  readWeights(n, "class", ids, ensemble);
  Value y = aggregate(n, featureMatrix(n, n.input(0)), ensemble, "SUM");
  std::string transform = n.stringAttr("post_transform", "NONE");
  SmallVector<int64_t> classIds = n.intsAttr("class_ids");
  bool binary = classes == 2 && !classIds.empty() && llvm::all_equal(classIds);
  if (binary) {
    // All weights are of one class; the other's score follows from it.
    std::vector<double> base = floatsOrTensor(n, "base_values");
    Value score = n.sliceAxis(y, 1, n.shapes.constant(classIds[0]), n.shapes.constant(1));
    if (!base.empty())
      score = n.add(score, n.scalarLike(score, base.back()));
    std::vector<double> weights = floatsOrTensor(n, "class_weights");
    bool positive = llvm::all_of(weights, [](double weight) { return weight >= 0; });
    Value other = transform == "NONE" && positive ? n.sub(n.scalarLike(score, 1), score) : n.neg(score);
    y = n.concat({other, score}, 1);
  } else {
    y = addBase(n, y, classes);
  }
  y = postTransform(n, y, transform);
  n.setOutput(0, labelsAt(n, n.argReduce("max", y, 1, false), ints, strings));
  n.setOutput(1, n.cast(y, n.b.getF32Type()));
}

/// Opset 5: nodes are addressed by position, leaves lie in lists of their own, and a node may test membership in a set.
void treeEnsemble(OnnxNode &n) {
  SmallVector<int64_t> features = n.intsAttr("nodes_featureids"), onTrue = n.intsAttr("nodes_truenodeids");
  SmallVector<int64_t> onFalse = n.intsAttr("nodes_falsenodeids"), trueLeafs = n.intsAttr("nodes_trueleafs");
  SmallVector<int64_t> falseLeafs = n.intsAttr("nodes_falseleafs"), missing = n.intsAttr("nodes_missing_value_tracks_true");
  SmallVector<int64_t> roots = n.intsAttr("tree_roots"), leafTargets = n.intsAttr("leaf_targetids");
  std::vector<double> modes = numbersOf(n, "nodes_modes"), splits = numbersOf(n, "nodes_splits");
  std::vector<double> leafWeights = numbersOf(n, "leaf_weights"), members = numbersOf(n, "membership_values");
  int64_t count = features.size(), leaves = leafTargets.size();
  requireCount(n, "nodes_truenodeids", onTrue.size(), count);
  requireCount(n, "nodes_falsenodeids", onFalse.size(), count);
  requireCount(n, "nodes_trueleafs", trueLeafs.size(), count);
  requireCount(n, "nodes_falseleafs", falseLeafs.size(), count);
  requireCount(n, "nodes_modes", modes.size(), count);
  requireCount(n, "nodes_splits", splits.size(), count);
  requireCount(n, "leaf_weights", leafWeights.size(), leaves);
  if (!missing.empty())
    requireCount(n, "nodes_missing_value_tracks_true", missing.size(), count);
  if (count == 0 || leaves == 0 || roots.empty())
    n.fail("has no tree");

  Ensemble ensemble;
  ensemble.roots.assign(roots.begin(), roots.end());
  ensemble.targets = n.intAttr("n_targets", 1);
  ensemble.nodes.resize(count + leaves); // the leaves follow the inner nodes, links of long sets follow both
  for (int64_t i = 0; i < leaves; ++i)
    ensemble.nodes[count + i].onTrue = ensemble.nodes[count + i].onFalse = count + i;
  size_t nextMember = 0;
  for (int64_t i = 0; i < count; ++i) {
    auto link = [&](int64_t id, bool leaf) {
      if (id < 0 || id >= (leaf ? leaves : count))
        n.fail("tree node " + Twine(i) + " leads to " + (leaf ? "leaf " : "node ") + Twine(id) + ", there are " +
               Twine(leaf ? leaves : count));
      return leaf ? count + id : id;
    };
    Node node;
    node.feature = features[i];
    node.split = splits[i];
    node.onTrue = link(onTrue[i], trueLeafs[i]);
    node.onFalse = link(onFalse[i], falseLeafs[i]);
    node.missingIsTrue = !missing.empty() && missing[i];
    node.mode = int64_t(modes[i]);
    if (node.mode < 0 || node.mode > 6)
      n.fail("attribute 'nodes_modes' holds " + Twine(node.mode) + ", which is no node kind");
    if (node.mode != 6) {
      ensemble.nodes[i] = node;
      continue;
    }
    // Membership: a chain of equalities.
    node.mode = Equal;
    int64_t place = i, otherwise = node.onFalse;
    bool any = false;
    for (; nextMember < members.size() && !std::isnan(members[nextMember]); ++nextMember) {
      if (any) {
        ensemble.nodes[place].onFalse = ensemble.nodes.size();
        place = ensemble.nodes.size();
        ensemble.nodes.emplace_back();
      }
      node.split = members[nextMember];
      node.onFalse = otherwise;
      ensemble.nodes[place] = node;
      any = true;
    }
    ++nextMember;
    if (!any) { // the empty set
      node.split = std::nan("");
      ensemble.nodes[place] = node;
    }
  }
  ensemble.resizeWeights(n);
  for (int64_t i = 0; i < leaves; ++i)
    ensemble.addWeight(n, count + i, leafTargets[i], leafWeights[i]);

  const char *const functions[] = {"AVERAGE", "SUM", "MIN", "MAX"};
  const char *const transforms[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  int64_t function = n.intAttr("aggregate_function", 1), transform = n.intAttr("post_transform", 0);
  if (function < 0 || function > 3)
    n.fail("attribute 'aggregate_function' is " + Twine(function) + "; it must be from 0 to 3");
  if (transform < 0 || transform > 4)
    n.fail("attribute 'post_transform' is " + Twine(transform) + "; it must be from 0 to 4");
  Type type = n.elementType(n.input(0));
  Value y = aggregate(n, featureMatrix(n, n.input(0)), ensemble, functions[function]);
  n.setOutput(0, n.cast(postTransform(n, y, transforms[transform]), type));
}

} // namespace

void flame::registerMlTrees(OnnxRegistry &registry) {
  registry.add("TreeEnsembleClassifier", treeEnsembleClassifier, 1, "ai.onnx.ml", "numeric");
  registry.add("TreeEnsembleRegressor", treeEnsembleRegressor, 1, "ai.onnx.ml", "numeric");
  registry.add("TreeEnsemble", treeEnsemble, 5, "ai.onnx.ml", "float");
}
