//===- Printer.cpp - statements and expressions of a kernel -------------------------------------------------------===//
#include "Printer.h"
#include "KernelBuilder.h"
#include "KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace flame::cuda;

namespace {

/// Precedence levels of C++ that matter here; a higher one binds tighter.
enum Level {
  Lowest,
  Conditional,
  LogicalOr,
  LogicalAnd,
  BitOr,
  BitXor,
  BitAnd,
  Equality,
  Relational,
  Shift,
  Sum,
  Product,
  Unary,
  Primary
};

struct Expression {
  std::string text;
  Level level = Primary;
};

class Printer {
public:
  explicit Printer(raw_ostream &os) : os(os) {}

  LogicalResult function(func::FuncOp kernel) {
    auto names = kernel->getAttrOfType<ArrayAttr>("flame.names");
    auto threads = kernel->getAttrOfType<IntegerAttr>("flame.threads");
    if (kernel->hasAttr("flame.index32"))
      indexName = "int";
    auto wgmma = kernel->getAttrOfType<DenseI64ArrayAttr>("flame.wgmma");
    int64_t threadCount = threads ? threads.getInt() : 256;
    os << "extern \"C\" __global__ void __launch_bounds__(";
    if (wgmma) // one block, so that its warpgroups can share out the registers
      os << "FLAME_IF_WGMMA(" << wgmma[0] << ", " << threadCount << "), 1";
    else
      os << threadCount;
    if (auto blocks = kernel->getAttrOfType<IntegerAttr>("flame.min_blocks"); blocks && !wgmma)
      os << ", " << blocks.getInt();
    os << ")";
    auto cluster = kernel->getAttrOfType<IntegerAttr>("flame.cluster");
    int64_t clusterBlocks = cluster ? cluster.getInt() : 1;
    if (wgmma && wgmma[1] != clusterBlocks)
      os << " FLAME_CLUSTER(FLAME_IF_WGMMA(" << wgmma[1] << ", " << clusterBlocks << "))";
    else if (clusterBlocks > 1)
      os << " FLAME_CLUSTER(" << clusterBlocks << ")";
    os << "\n"
       << kernel.getName() << "(";
    for (auto [i, argument] : llvm::enumerate(kernel.getArguments())) {
      std::string name = names && i < names.size() ? cast<StringAttr>(names[i]).str() : ("a" + Twine(i)).str();
      setName(argument, name);
      if (i)
        os << ", ";
      if (auto buffer = dyn_cast<MemRefType>(argument.getType())) {
        bool written = kernel.getArgAttr(i, "flame.written") != nullptr;
        os << (written ? "" : "const ") << typeName(buffer.getElementType()) << " *__restrict__ " << name;
      } else {
        os << "const " << typeName(argument.getType()) << " " << name;
      }
    }
    for (int64_t i = 0; wgmma && i < wgmma[2]; ++i)
      os << (i || kernel.getNumArguments() ? ", " : "") << "const __grid_constant__ flame::TensorMap map" << i;
    os << ") {\n";
    depth = 1;
    if (!kernel->hasAttr("flame.waits_later"))
      line() << "flame_begin();\n";
    if (failed(block(kernel.getBody().front())))
      return failure();
    os << "}\n\n";
    return success();
  }

private:
  raw_ostream &os;
  unsigned depth = 0, nextName = 0;
  std::string indexName = "long long";
  DenseMap<Value, std::string> names;
  DenseMap<Value, Expression> inlined;

  // ---- names and types

  void setName(Value value, StringRef name) { names[value] = name.str(); }
  StringRef newName(Value value, StringRef stem) { return names[value] = (stem + Twine(nextName++)).str(); }

  std::string typeName(Type type) const {
    if (type.isIndex())
      return indexName;
    if (type.isF32())
      return "float";
    if (type.isF64())
      return "double";
    if (type.isF16())
      return "unsigned short";
    if (auto vector = dyn_cast<VectorType>(type))
      return ("flame_vector<" + Twine(typeName(vector.getElementType())) + ", " + Twine(vector.getNumElements()) + ">").str();
    switch (type.getIntOrFloatBitWidth()) {
    case 1:
      return "bool";
    case 8:
      return "unsigned char";
    case 16:
      return "unsigned short";
    case 32:
      return "unsigned int";
    default:
      return "unsigned long long";
    }
  }
  std::string signedName(Type type) const {
    if (type.isIndex())
      return indexName;
    switch (type.getIntOrFloatBitWidth()) {
    case 1:
    case 8:
      return "signed char";
    case 16:
      return "short";
    case 32:
      return "int";
    default:
      return "long long";
    }
  }

  // ---- expressions

  /// A float as one of f32 or f64: f64 where it is, or where `to` is.
  Expression decode(Value x, Type to) {
    Type type = x.getType();
    StringRef decoder = type.isF16()                  ? "flame_half_to_float"
                        : type.isBF16()               ? "flame_bf16_to_float"
                        : isa<Float8E4M3FNType>(type) ? "flame_e4m3_to_float"
                        : isa<Float8E5M2Type>(type)   ? "flame_e5m2_to_float"
                                                      : "";
    if (decoder.empty() && type == to)
      return expression(x);
    if (decoder.empty())
      return to.isF32() || to.isF64() ? Expression{cast_(typeName(to), x), Unary} : expression(x);
    Expression single = call(decoder.str(), x);
    return to.isF64() ? Expression{("(double)" + Twine(single.text)).str(), Unary} : single;
  }
  /// f32 or, for half, f64 as a float of type `to`.
  static Expression encode(Type to, Expression real, bool isDouble = false) {
    StringRef encoder = to.isF16()                  ? isDouble ? "flame_double_to_half" : "flame_float_to_half"
                        : to.isBF16()               ? "flame_float_to_bf16"
                        : isa<Float8E4M3FNType>(to) ? "flame_float_to_e4m3"
                        : isa<Float8E5M2Type>(to)   ? "flame_float_to_e5m2"
                                                    : "";
    return encoder.empty() ? real : Expression{(encoder + "(" + real.text + ")").str(), Primary};
  }

  static std::string floatText(const APFloat &value, Type type) {
    bool isDouble = type.isF64();
    if (value.isNaN())
      return isDouble ? "__longlong_as_double(0x7ff8000000000000ll)" : "__int_as_float(0x7fc00000)";
    if (value.isInfinity()) {
      std::string text = isDouble ? "__longlong_as_double(0x7ff0000000000000ll)" : "__int_as_float(0x7f800000)";
      return value.isNegative() ? ("(-" + Twine(text) + ")").str() : text;
    }
    // As many digits as give the same number back; hexadecimal where decimals would be long.
    SmallString<32> digits;
    value.toString(digits, isDouble ? 17 : 9, 3);
    std::string text(digits.str());
    if (text.find_first_of(".E") == std::string::npos)
      text += ".0";
    if (!isDouble)
      text += "f";
    return text[0] == '-' ? ("(" + Twine(text) + ")").str() : text;
  }

  static std::string integerText(const APInt &value, Type type) {
    if (type.isInteger(1))
      return value.isZero() ? "false" : "true";
    if (type.isIndex()) {
      int64_t number = value.getSExtValue();
      if (number == INT64_MIN)
        return "(-9223372036854775807ll - 1)";
      std::string text = std::to_string(number) + (number > INT32_MAX || number < -INT32_MAX ? "ll" : "");
      return number < 0 ? ("(" + Twine(text) + ")").str() : text;
    }
    uint64_t number = value.getZExtValue();
    unsigned width = type.getIntOrFloatBitWidth();
    std::string text = std::to_string(number) + (width == 64 ? "ull" : width == 32 ? "u" : "");
    return text;
  }

  Expression expression(Value value) {
    if (auto it = inlined.find(value); it != inlined.end()) {
      Expression found = std::move(it->second);
      inlined.erase(it);
      return found;
    }
    if (auto it = names.find(value); it != names.end())
      return {it->second, Primary};
    APInt integer;
    if (auto constant = value.getDefiningOp<arith::ConstantOp>()) {
      if (auto number = dyn_cast<FloatAttr>(constant.getValue())) {
        if (value.getType().isF16())
          return {std::to_string(number.getValue().bitcastToAPInt().getZExtValue()), Primary};
        return {floatText(number.getValue(), value.getType()), Primary};
      }
      if (auto number = dyn_cast<IntegerAttr>(constant.getValue()))
        return {integerText(number.getValue(), value.getType()), Primary};
    }
    llvm_unreachable("a value that no statement has named");
  }
  std::string text(Value value, Level least = Lowest) {
    Expression e = expression(value);
    return e.level < least ? "(" + e.text + ")" : e.text;
  }
  /// The value as an operand of a cast or call.
  std::string cast_(StringRef type, Value value) { return ("(" + type + ")" + text(value, Unary)).str(); }

  Expression binary(Value x, StringRef symbol, Value y, Level level) {
    std::string left = text(x, level), right = text(y, Level(level + 1));
    return {(left + " " + symbol + " " + right).str(), level};
  }
  /// Integer arithmetic narrower than int is done in int: cut it back.
  Expression narrow(Expression e, Type type) {
    if (type.isInteger(8) || type.isInteger(16))
      return {"(" + typeName(type) + ")(" + e.text + ")", Unary};
    if (type.isInteger(1))
      return {"((" + e.text + ") & 1) != 0", Equality};
    return e;
  }
  Expression signedBinary(Value x, StringRef symbol, Value y, Level level) {
    std::string type = signedName(x.getType());
    if (x.getType().isIndex())
      return binary(x, symbol, y, level);
    return {(cast_(type, x) + " " + symbol + " " + cast_(type, y)).str(), level};
  }
  Expression unsignedBinary(Value x, StringRef symbol, Value y, Level level) {
    // Indices that are compared or divided as unsigned numbers are non-negative.
    return binary(x, symbol, y, level);
  }
  Expression call(std::string out, ValueRange operands) {
    out += '(';
    for (auto [i, operand] : llvm::enumerate(operands))
      out += (i ? ", " : "") + text(operand);
    return {out + ")", Primary};
  }
  /// A call of a function of indices; literals are ints, so constants are cast where an index is wider.
  Expression indexCall(std::string out, ValueRange operands) {
    out += '(';
    for (auto [i, operand] : llvm::enumerate(operands)) {
      bool cast = indexName != "int" && operand.getDefiningOp<arith::ConstantOp>();
      out += (i ? ", " : "") + (cast ? cast_(indexName, operand) : text(operand));
    }
    return {out + ")", Primary};
  }
  Expression backToUnsigned(Expression e, Type type) {
    if (type.isIndex())
      return e;
    return {"(" + typeName(type) + ")(" + e.text + ")", Unary};
  }

  Expression mathCall(StringRef name, Operation *op) {
    return call(name.str() + (op->getResult(0).getType().isF64() ? "" : "f"), op->getOperands());
  }

  Expression compare(arith::CmpIOp op) {
    using P = arith::CmpIPredicate;
    Value x = op.getLhs(), y = op.getRhs();
    switch (op.getPredicate()) {
    case P::eq:
      return binary(x, "==", y, Equality);
    case P::ne:
      return binary(x, "!=", y, Equality);
    case P::slt:
      return signedBinary(x, "<", y, Relational);
    case P::sle:
      return signedBinary(x, "<=", y, Relational);
    case P::sgt:
      return signedBinary(x, ">", y, Relational);
    case P::sge:
      return signedBinary(x, ">=", y, Relational);
    case P::ult:
      return unsignedBinary(x, "<", y, Relational);
    case P::ule:
      return unsignedBinary(x, "<=", y, Relational);
    case P::ugt:
      return unsignedBinary(x, ">", y, Relational);
    case P::uge:
      return unsignedBinary(x, ">=", y, Relational);
    }
    llvm_unreachable("no other predicate");
  }

  FailureOr<Expression> compare(arith::CmpFOp op) {
    using P = arith::CmpFPredicate;
    Value x = op.getLhs(), y = op.getRhs();
    switch (op.getPredicate()) {
    case P::OEQ:
      return binary(x, "==", y, Equality);
    case P::UNE:
      return binary(x, "!=", y, Equality);
    case P::OLT:
      return binary(x, "<", y, Relational);
    case P::OLE:
      return binary(x, "<=", y, Relational);
    case P::OGT:
      return binary(x, ">", y, Relational);
    case P::OGE:
      return binary(x, ">=", y, Relational);
    // The negations: true on NaN as well.
    case P::UGE:
      return Expression{"!(" + binary(x, "<", y, Relational).text + ")", Unary};
    case P::UGT:
      return Expression{"!(" + binary(x, "<=", y, Relational).text + ")", Unary};
    case P::ULE:
      return Expression{"!(" + binary(x, ">", y, Relational).text + ")", Unary};
    case P::ULT:
      return Expression{"!(" + binary(x, ">=", y, Relational).text + ")", Unary};
    case P::UNO: {
      std::string a = text(x, Unary), b = x == y ? a : text(y, Unary);
      return Expression{a == b ? a + " != " + a : "(" + a + " != " + a + " || " + b + " != " + b + ")",
                        a == b ? Equality : Primary};
    }
    case P::ORD: {
      std::string a = text(x, Unary), b = x == y ? a : text(y, Unary);
      return Expression{a == b ? a + " == " + a : "(" + a + " == " + a + " && " + b + " == " + b + ")",
                        a == b ? Equality : Primary};
    }
    // Neither equal nor NaN, and its negation.
    case P::ONE:
    case P::UEQ: {
      const std::string a = text(x, Unary), b = text(y, Unary);
      const std::string differs = "(" + a + " < " + b + " || " + a + " > " + b + ")";
      return op.getPredicate() == P::ONE ? Expression{differs, Primary} : Expression{"!" + differs, Unary};
    }
    default:
      return op.emitOpError("has a predicate that kernels do not use");
    }
  }

  /// The expression of an op without regions and with one result.
  static bool approximate(arith::FastMathFlags flags, Type type) {
    return type.isF32() && arith::bitEnumContainsAll(flags, arith::FastMathFlags::afn);
  }

  /// f32 to a narrow float, all elements of a vector: two at a time, as the hardware does it.
  FailureOr<Expression> pack(arith::TruncFOp op, VectorType type) {
    Type element = type.getElementType();
    StringRef packer = element.isBF16()                ? "flame_pack_bf16"
                       : element.isF16()               ? "flame_pack_half"
                       : isa<Float8E4M3FNType>(element) ? "flame_pack_e4m3"
                       : isa<Float8E5M2Type>(element)   ? "flame_pack_e5m2"
                                                        : "";
    if (packer.empty())
      return op.emitOpError("has no meaning in a CUDA kernel");
    std::string size = std::to_string(type.getNumElements());
    return Expression{(packer + "<" + size + ">(" + text(op.getIn()) + ")").str(), Primary};
  }

  FailureOr<Expression> compute(Operation *op) {
    Type type = op->getResult(0).getType();
    auto value = [&](unsigned i) { return op->getOperand(i); };
    return llvm::TypeSwitch<Operation *, FailureOr<Expression>>(op)
        .Case<arith::AddIOp>([&](auto) { return narrow(binary(value(0), "+", value(1), Sum), type); })
        .Case<arith::SubIOp>([&](auto) { return narrow(binary(value(0), "-", value(1), Sum), type); })
        .Case<arith::MulIOp>([&](auto) { return narrow(binary(value(0), "*", value(1), Product), type); })
        .Case<arith::AddFOp>([&](auto) { return binary(value(0), "+", value(1), Sum); })
        .Case<arith::SubFOp>([&](auto) { return binary(value(0), "-", value(1), Sum); })
        .Case<arith::MulFOp>([&](auto) { return binary(value(0), "*", value(1), Product); })
        .Case<arith::DivFOp>([&](arith::DivFOp quotient) -> FailureOr<Expression> {
          if (approximate(quotient.getFastmath(), type) && matchPattern(value(0), m_OneFloat()))
            return call("flame_reciprocal", value(1));
          return binary(value(0), "/", value(1), Product);
        })
        .Case<arith::RemFOp>([&](auto) { return mathCall("fmod", op); })
        .Case<arith::NegFOp>([&](auto) {
          return Expression{"-" + text(value(0), Primary), Unary};
        })
        .Case<arith::DivUIOp>([&](auto) { return unsignedBinary(value(0), "/", value(1), Product); })
        .Case<arith::RemUIOp>([&](auto) { return unsignedBinary(value(0), "%", value(1), Product); })
        .Case<arith::DivSIOp>(
            [&](auto) { return backToUnsigned(signedBinary(value(0), "/", value(1), Product), type); })
        .Case<arith::RemSIOp>(
            [&](auto) { return backToUnsigned(signedBinary(value(0), "%", value(1), Product), type); })
        .Case<arith::AndIOp>([&](auto) {
          return type.isInteger(1) ? binary(value(0), "&&", value(1), LogicalAnd)
                                   : binary(value(0), "&", value(1), BitAnd);
        })
        .Case<arith::OrIOp>([&](auto) {
          return type.isInteger(1) ? binary(value(0), "||", value(1), LogicalOr)
                                   : binary(value(0), "|", value(1), BitOr);
        })
        .Case<arith::XOrIOp>([&](auto) {
          return type.isInteger(1) ? binary(value(0), "!=", value(1), Equality)
                                   : binary(value(0), "^", value(1), BitXor);
        })
        .Case<arith::ShLIOp>([&](auto) { return narrow(binary(value(0), "<<", value(1), Shift), type); })
        .Case<arith::ShRUIOp>([&](auto) { return narrow(binary(value(0), ">>", value(1), Shift), type); })
        .Case<arith::ShRSIOp>([&](auto) {
          std::string left = cast_(signedName(type), value(0));
          return backToUnsigned({left + " >> " + text(value(1), Sum), Shift}, type);
        })
        .Case<arith::CmpIOp>([&](arith::CmpIOp compared) -> FailureOr<Expression> { return compare(compared); })
        .Case<arith::CmpFOp>([&](arith::CmpFOp compared) { return compare(compared); })
        .Case<arith::SelectOp>([&](auto) {
          std::string condition = text(value(0), LogicalOr), yes = text(value(1), LogicalOr),
                      no = text(value(2), LogicalOr);
          return Expression{condition + " ? " + yes + " : " + no, Conditional};
        })
        .Case<arith::MaxSIOp, arith::MinSIOp>([&](Operation *minMax) {
          StringRef name = isa<arith::MaxSIOp>(minMax) ? "max" : "min";
          std::string cast = signedName(type);
          if (type.isIndex())
            return indexCall("flame_" + name.str(), op->getOperands());
          std::string wide = type.getIntOrFloatBitWidth() == 64 ? "long long" : "int";
          auto widened = [&](Value v) { return "(" + wide + ")" + cast_(cast, v); };
          std::string x = widened(value(0)), y = widened(value(1));
          return Expression{"(" + typeName(type) + ")" + name.str() + "(" + x + ", " + y + ")", Unary};
        })
        .Case<arith::MaxUIOp, arith::MinUIOp>([&](Operation *minMax) {
          StringRef name = isa<arith::MaxUIOp>(minMax) ? "max" : "min";
          if (type.isInteger(1))
            return binary(value(0), name == "max" ? "||" : "&&", value(1), name == "max" ? LogicalOr : LogicalAnd);
          if (type.isIndex())
            return indexCall("flame_" + name.str(), op->getOperands());
          if (type.getIntOrFloatBitWidth() >= 32)
            return call(name.str(), op->getOperands());
          std::string x = cast_("unsigned int", value(0)), y = cast_("unsigned int", value(1));
          return Expression{"(" + typeName(type) + ")" + name.str() + "(" + x + ", " + y + ")", Unary};
        })
        .Case<arith::MaximumFOp>([&](auto) { return call("flame_maximum", op->getOperands()); })
        .Case<arith::MinimumFOp>([&](auto) { return call("flame_minimum", op->getOperands()); })
        .Case<arith::MaxNumFOp>([&](auto) { return mathCall("fmax", op); })
        .Case<arith::MinNumFOp>([&](auto) { return mathCall("fmin", op); })
        // Narrow floats are their bits; the simplifier joins two conversions into one between any of them.
        .Case<arith::ExtFOp, arith::TruncFOp>([&](auto) -> FailureOr<Expression> {
          if (auto vector = dyn_cast<VectorType>(type))
            return pack(cast<arith::TruncFOp>(op), vector);
          return encode(type, decode(value(0), type), value(0).getType().isF64());
        })
        .Case<arith::ExtUIOp, arith::IndexCastUIOp>([&](auto) { return Expression{cast_(typeName(type), value(0)), Unary}; })
        .Case<arith::TruncIOp>([&](auto) {
          if (type.isInteger(1))
            return Expression{"(" + text(value(0), BitAnd) + " & 1) != 0", Equality};
          return Expression{cast_(typeName(type), value(0)), Unary};
        })
        .Case<arith::ExtSIOp, arith::IndexCastOp>([&](auto) {
          Type from = value(0).getType();
          if (from.isInteger(1)) {
            std::string one = type.isIndex() ? "-1" : "(" + typeName(type) + ")-1";
            return Expression{text(value(0), LogicalOr) + " ? " + one + " : 0", Conditional};
          }
          if (from.isIndex())
            return Expression{cast_(typeName(type), value(0)), Unary};
          return Expression{"(" + typeName(type) + ")" + cast_(signedName(from), value(0)), Unary};
        })
        .Case<arith::SIToFPOp>([&](auto) {
          Type from = value(0).getType();
          if (from.isInteger(1))
            return encode(type, {text(value(0), LogicalOr) + (type.isF64() ? " ? -1.0 : 0.0" : " ? -1.0f : 0.0f"), Conditional});
          std::string real = type.isF64() ? "(double)" : "(float)";
          return encode(type, {real + cast_(signedName(from), value(0)), Unary});
        })
        .Case<arith::UIToFPOp>([&](auto) {
          return encode(type, {cast_(type.isF64() ? "double" : "float", value(0)), Unary});
        })
        .Case<arith::FPToSIOp>([&](auto) {
          return Expression{"(" + typeName(type) + ")flame_to_i64(" + decode(value(0), value(0).getType()).text + ")", Unary};
        })
        .Case<arith::FPToUIOp>([&](auto) {
          return Expression{"(" + typeName(type) + ")flame_to_u64(" + decode(value(0), value(0).getType()).text + ")", Unary};
        })
        .Case<arith::BitcastOp>([&](auto) -> FailureOr<Expression> {
          Type from = value(0).getType();
          if (from.isF16() || type.isF16() || isa<VectorType>(type))
            return Expression{text(value(0), Primary), Primary};
          if (from.isF32())
            return call("__float_as_uint", op->getOperands());
          if (type.isF32())
            return call("__uint_as_float", op->getOperands());
          if (from.isF64())
            return Expression{"(unsigned long long)" + call("__double_as_longlong", op->getOperands()).text, Unary};
          if (type.isF64())
            return call("__longlong_as_double", op->getOperands());
          return Expression{text(value(0), Primary), Primary};
        })
        .Case<math::ExpOp>([&](math::ExpOp exp) {
          return approximate(exp.getFastmath(), type) ? call("flame_exp", value(0)) : mathCall("exp", op);
        })
        .Case<math::ExpM1Op>([&](auto) { return mathCall("expm1", op); })
        .Case<math::LogOp>([&](auto) { return mathCall("log", op); })
        .Case<math::Log1pOp>([&](auto) { return mathCall("log1p", op); })
        .Case<math::SqrtOp>([&](auto) { return mathCall("sqrt", op); })
        .Case<math::RsqrtOp>([&](auto) { return mathCall("rsqrt", op); })
        .Case<math::TanhOp>([&](auto) { return mathCall("tanh", op); })
        .Case<math::ErfOp>([&](auto) { return mathCall("erf", op); })
        .Case<math::PowFOp>([&](auto) { return mathCall("pow", op); })
        .Case<math::FloorOp>([&](auto) { return mathCall("floor", op); })
        .Case<math::CeilOp>([&](auto) { return mathCall("ceil", op); })
        .Case<math::TruncOp>([&](auto) { return mathCall("trunc", op); })
        .Case<math::RoundEvenOp>([&](auto) { return mathCall("rint", op); })
        .Case<math::AbsFOp>([&](auto) { return mathCall("fabs", op); })
        .Case<math::AbsIOp>([&](auto) {
          std::string x = text(value(0), Primary), negative = cast_(signedName(type), value(0));
          return Expression{"(" + typeName(type) + ")(" + negative + " < 0 ? 0 - " + x + " : " + x + ")", Unary};
        })
        .Case<math::SinOp>([&](auto) { return mathCall("sin", op); })
        .Case<math::CosOp>([&](auto) { return mathCall("cos", op); })
        .Case<math::TanOp>([&](auto) { return mathCall("tan", op); })
        .Case<math::AsinOp>([&](auto) { return mathCall("asin", op); })
        .Case<math::AcosOp>([&](auto) { return mathCall("acos", op); })
        .Case<math::AtanOp>([&](auto) { return mathCall("atan", op); })
        .Case<math::Atan2Op>([&](auto) { return mathCall("atan2", op); })
        .Case<math::SinhOp>([&](auto) { return mathCall("sinh", op); })
        .Case<math::CoshOp>([&](auto) { return mathCall("cosh", op); })
        .Case<math::AsinhOp>([&](auto) { return mathCall("asinh", op); })
        .Case<math::AcoshOp>([&](auto) { return mathCall("acosh", op); })
        .Case<math::AtanhOp>([&](auto) { return mathCall("atanh", op); })
        .Case<math::CopySignOp>([&](auto) { return mathCall("copysign", op); })
        .Case<math::FmaOp>([&](auto) { return mathCall("fma", op); })
        .Case<memref::LoadOp>([&](memref::LoadOp load) {
          std::string buffer = text(load.getMemRef(), Primary);
          return Expression{buffer + "[" + text(load.getIndices().front()) + "]", Primary};
        })
        .Case<vector::LoadOp>([&](vector::LoadOp load) {
          std::string from = text(load.getBase(), Primary) + " + " + text(load.getIndices().front(), Sum);
          int64_t size = load.getVectorType().getNumElements();
          auto buffer = dyn_cast<BlockArgument>(load.getBase());
          auto function = buffer ? dyn_cast<func::FuncOp>(buffer.getOwner()->getParentOp()) : func::FuncOp();
          const bool streams = function && function.getArgAttr(buffer.getArgNumber(), isStream);
          return Expression{((streams ? "flame_load_stream<" : "flame_load<") + Twine(size) + ">(" + from + ")").str(), Primary};
        })
        .Case<vector::ExtractOp>([&](vector::ExtractOp extract) {
          std::string at = std::to_string(extract.getStaticPosition().front());
          return Expression{text(extract->getOperand(0), Primary) + "[" + at + "]", Primary};
        })
        .Case<vector::FromElementsOp>([&](auto) {
          std::string list;
          for (Value element : op->getOperands())
            list += (list.empty() ? "" : ", ") + text(element);
          return Expression{"{" + list + "}", Primary};
        })
        .Case<gpu::ThreadIdOp>([&](auto) { return Expression{"(" + indexName + ")threadIdx.x", Unary}; })
        .Case<gpu::BlockIdOp>([&](auto) { return Expression{"(" + indexName + ")blockIdx.x", Unary}; })
        .Case<gpu::GridDimOp>([&](auto) { return Expression{"(" + indexName + ")gridDim.x", Unary}; })
        .Case<gpu::ShuffleOp>([&](gpu::ShuffleOp shuffle) {
          Type element = shuffle.getValue().getType();
          std::string operand = text(shuffle.getValue()), offset = text(shuffle.getOffset());
          std::string name = shuffle.getMode() == gpu::ShuffleMode::UP ? "__shfl_up_sync" : "__shfl_xor_sync";
          std::string result = name + "(0xffffffffu, " + operand + ", " + offset + ")";
          if (element.isIntOrIndex() && element.getIntOrFloatBitWidth() < 32)
            return narrow({result, Primary}, element);
          return Expression{result, Primary};
        })
        .Default([&](Operation *unknown) -> FailureOr<Expression> {
          return unknown->emitOpError("has no meaning in a CUDA kernel");
        });
  }

  // ---- statements

  raw_ostream &line() { return os.indent(2 * depth); }

  /// True if the op may be printed where its only use is.
  static bool isInlined(Operation *op) {
    if (op->getNumResults() != 1 || op->getNumRegions() != 0 || !isPure(op) || isa<gpu::ShuffleOp>(op))
      return false;
    Value value = op->getResult(0);
    if (!value.hasOneUse())
      return false;
    Operation *user = *value.user_begin();
    // Twice in the text though once in the IR.
    return user->getBlock() == op->getBlock() && !isa<scf::ForOp, math::AbsIOp>(user) &&
           !(isa<arith::CmpFOp>(user) && (cast<arith::CmpFOp>(user).getPredicate() == arith::CmpFPredicate::UNO ||
                                          cast<arith::CmpFOp>(user).getPredicate() == arith::CmpFPredicate::ORD));
  }

  void assign(ValueRange targets, ValueRange values) {
    SmallVector<std::pair<std::string, std::string>> moves;
    for (auto [target, value] : llvm::zip(targets, values)) {
      std::string to = names.lookup(target), from = text(value);
      if (to != from)
        moves.push_back({to, from});
    }
    if (moves.size() == 1) {
      line() << moves[0].first << " = " << moves[0].second << ";\n";
      return;
    }
    // All at once: one value may read what another overwrites.
    SmallVector<std::string> fresh;
    for (auto [move, target] : llvm::zip(moves, targets))
      (void)target, fresh.push_back("t" + std::to_string(nextName++));
    for (auto [name, move] : llvm::zip(fresh, moves))
      line() << "const auto " << name << " = " << move.second << ";\n";
    for (auto [name, move] : llvm::zip(fresh, moves))
      line() << move.first << " = " << name << ";\n";
  }

  LogicalResult forLoop(scf::ForOp loop) {
    for (auto [result, argument, init] : llvm::zip(loop.getResults(), loop.getRegionIterArgs(), loop.getInitArgs())) {
      std::string start = text(init);
      StringRef name = newName(result, "r");
      setName(argument, name);
      line() << typeName(result.getType()) << " " << names[result] << " = " << start << ";\n";
    }
    std::string low = text(loop.getLowerBound()), high = text(loop.getUpperBound(), Shift), step = text(loop.getStep());
    newName(loop.getInductionVar(), "i");
    std::string name = names[loop.getInductionVar()];
    if (auto unroll = loop->getAttrOfType<IntegerAttr>("flame.unroll"))
      line() << "#pragma unroll " << unroll.getInt() << "\n";
    line() << "for (" << typeName(loop.getInductionVar().getType()) << " " << name << " = " << low << "; " << name
           << " < " << high << "; " << (step == "1" ? "++" + name : name + " += " + step) << ") {\n";
    ++depth;
    if (failed(block(*loop.getBody())))
      return failure();
    auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
    assign(loop.getResults(), yield.getOperands());
    --depth;
    line() << "}\n";
    return success();
  }

  LogicalResult branch(scf::IfOp op) {
    for (Value result : op.getResults()) {
      newName(result, "r");
      line() << typeName(result.getType()) << " " << names[result] << ";\n";
    }
    line() << "if (" << text(op.getCondition()) << ") {\n";
    auto side = [&](Block &body) {
      ++depth;
      LogicalResult status = block(body);
      if (succeeded(status))
        assign(op.getResults(), cast<scf::YieldOp>(body.getTerminator()).getOperands());
      --depth;
      return status;
    };
    if (failed(side(*op.thenBlock())))
      return failure();
    if (op.elseBlock() && !(op.elseBlock()->without_terminator().empty() && op.getNumResults() == 0)) {
      line() << "} else {\n";
      if (failed(side(*op.elseBlock())))
        return failure();
    }
    line() << "}\n";
    return success();
  }

  LogicalResult lambda(FunctionOp function) {
    Block &body = function->getRegion(0).front();
    auto argumentNames = function->getAttrOfType<ArrayAttr>("names");
    std::string name = function->getAttrOfType<StringAttr>("name").str();
    setName(function->getResult(0), name);
    line() << "const auto " << name << " = [&](";
    for (auto [i, argument] : llvm::enumerate(body.getArguments())) {
      // Nested in nothing but the kernel, so the names can't clash.
      setName(argument, cast<StringAttr>(argumentNames[i]).getValue());
      os << (i ? ", " : "") << "const " << typeName(argument.getType()) << " " << names[argument];
    }
    Operation *yield = body.getTerminator();
    os << ")";
    if (yield->getNumOperands())
      os << " -> " << typeName(yield->getOperand(0).getType());
    os << " {\n";
    ++depth;
    if (failed(block(body)))
      return failure();
    if (yield->getNumOperands())
      line() << "return " << text(yield->getOperand(0)) << ";\n";
    --depth;
    line() << "};\n";
    return success();
  }

  void call(Operation *op) {
    std::string text = filled(op, op->getAttrOfType<StringAttr>("text").getValue());
    if (auto wgmma = op->getAttrOfType<StringAttr>("wgmma")) {
      std::string other = filled(op, wgmma.getValue());
      os << "#if FLAME_HAS_WGMMA\n";
      line() << other << ";\n";
      os << "#else\n";
      line() << text << ";\n";
      os << "#endif\n";
    } else {
      line() << text << ";\n";
    }
  }

  /// A call's text with its operands in place of $0, $1, …
  std::string filled(Operation *op, StringRef rest) {
    std::string result;
    while (!rest.empty()) {
      auto [before, after] = rest.split('$');
      result += before;
      rest = after;
      if (after.empty())
        break;
      if (rest.consume_front("I")) {
        result += indexName;
        continue;
      }
      unsigned operand = 0;
      rest.consumeInteger(10, operand);
      Value value = op->getOperand(operand);
      // An operand may stand more than once in the text.
      auto found = inlined.find(value);
      Expression e = found != inlined.end() ? found->second : expression(value);
      result += e.level < Primary ? "(" + e.text + ")" : e.text;
    }
    return result;
  }

  LogicalResult statement(Operation *op) {
    if (isa<arith::ConstantOp, scf::YieldOp, func::ReturnOp, YieldOp>(op))
      return success();
    if (auto function = dyn_cast<FunctionOp>(op))
      return lambda(function);
    if (isa<CallOp>(op)) {
      call(op);
      return success();
    }
    if (auto value = dyn_cast<ValueOp>(op)) {
      std::string text = filled(op, op->getAttrOfType<StringAttr>("text").getValue());
      Type type = value->getResult(0).getType();
      newName(value->getResult(0), type.isIndex() ? "n" : "v");
      line() << "const " << typeName(type) << " " << names[value->getResult(0)] << " = " << text << ";\n";
      return success();
    }
    if (auto loop = dyn_cast<scf::ForOp>(op))
      return forLoop(loop);
    if (auto conditional = dyn_cast<scf::IfOp>(op))
      return branch(conditional);
    if (auto store = dyn_cast<memref::StoreOp>(op)) {
      std::string value = text(store.getValue()), at = text(store.getIndices().front());
      line() << text(store.getMemRef(), Primary) << "[" << at << "] = " << value << ";\n";
      return success();
    }
    if (auto store = dyn_cast<vector::StoreOp>(op)) {
      std::string value = text(store.getValueToStore());
      std::string to = text(store.getBase(), Primary) + " + " + text(store.getIndices().front(), Sum);
      line() << "flame_store<" << store.getVectorType().getNumElements() << ">(" << to << ", " << value << ");\n";
      return success();
    }
    if (isa<gpu::BarrierOp>(op)) {
      line() << "__syncthreads();\n";
      return success();
    }
    if (auto offset = op->getAttrOfType<IntegerAttr>("flame.dynamic_shared")) {
      std::string type = typeName(cast<MemRefType>(op->getResult(0).getType()).getElementType());
      line() << type << " *const " << newName(op->getResult(0), "shared") << " = reinterpret_cast<" << type
             << " *>(flame::dynamicShared() + " << offset.getInt() << ");\n";
      return success();
    }
    if (auto shared = dyn_cast<memref::AllocaOp>(op)) {
      bool isShared = shared->hasAttr("flame.shared");
      newName(shared, isShared ? "shared" : "local");
      line() << (isShared ? "__shared__ " : "") << typeName(shared.getType().getElementType()) << " " << names[shared]
             << "[" << shared.getType().getNumElements() << "];\n";
      return success();
    }
    // The second result of a shuffle, whether the lane takes part, is true in every kernel here.
    if (op->getNumResults() != 1 && !isa<gpu::ShuffleOp>(op))
      return op->emitOpError("has no meaning in a CUDA kernel");
    if (op->use_empty() && isPure(op))
      return success();
    FailureOr<Expression> computed = compute(op);
    if (failed(computed))
      return failure();
    if (isInlined(op) && computed->text.size() < 100) {
      inlined[op->getResult(0)] = std::move(*computed);
      return success();
    }
    Type type = op->getResult(0).getType();
    newName(op->getResult(0), type.isIndex() ? "n" : "v");
    // A choice among buffers that are read.
    auto buffer = dyn_cast<MemRefType>(type);
    line() << "const " << (buffer ? typeName(buffer.getElementType()) + " *const" : typeName(type)) << " " << names[op->getResult(0)] << " = "
           << computed->text << ";\n";
    return success();
  }

  LogicalResult block(Block &body) {
    for (Operation &op : body)
      if (failed(statement(&op)))
        return failure();
    return success();
  }
};

} // namespace

LogicalResult flame::cuda::printKernel(func::FuncOp kernel, raw_ostream &os) { return Printer(os).function(kernel); }
