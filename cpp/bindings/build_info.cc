// How this extension was built.
#include <pybind11/pybind11.h>

#include <string>

namespace neocog::bindings {
namespace py = pybind11;
namespace {

const char* compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

// CMake's name for it; without one, what the compiler can tell.
const char* build_type() {
#if defined(NEOCOG_BUILD_TYPE)
  return NEOCOG_BUILD_TYPE;
#elif defined(__OPTIMIZE__)
  return "optimized";
#else
  return "unoptimized";
#endif
}

#if defined(__has_feature)
#define NEOCOG_HAS_FEATURE(name) __has_feature(name)
#else
#define NEOCOG_HAS_FEATURE(name) 0
#endif

const char* sanitizer() {
#if defined(NEOCOG_SANITIZER)
  return NEOCOG_SANITIZER;
#elif defined(__SANITIZE_ADDRESS__) || NEOCOG_HAS_FEATURE(address_sanitizer)
  return "address";
#elif defined(__SANITIZE_THREAD__) || NEOCOG_HAS_FEATURE(thread_sanitizer)
  return "thread";
#else
  return "";
#endif
}

// The specification's date, as _OPENMP gives it, by its usual number.
std::string openmp() {
#ifdef _OPENMP
  switch (_OPENMP) {
    case 201107: return "3.1";
    case 201307: return "4.0";
    case 201511: return "4.5";
    case 201811: return "5.0";
    case 202011: return "5.1";
    case 202111: return "5.2";
    case 202411: return "6.0";
    default: return std::to_string(_OPENMP);
  }
#else
  return "";
#endif
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = compiler();
  info["build_type"] = build_type();
  info["cxx_standard"] = __cplusplus / 100 % 100;
  info["openmp"] = openmp();
  info["sanitizer"] = sanitizer();
  return info;
}

}  // namespace

void bind_build_info(py::module_& m) {
  m.def("build_info", &build_info);
}

}  // namespace neocog::bindings
