//===- main.cpp - pictures over HTTP ---------------------------------------===//
//
//   flame-serve FOLDER [--artifacts DIR] [--host 127.0.0.1] [--port 8080] [--batch 4] [--queue 64]
//               [--memory-limit BYTES] [--device N] [--threads N]
//
// FOLDER is a FLUX pipeline as diffusers saves it, DIR what `flamec generate FOLDER --compile-only` prints. POST
// /pictures with a JSON object (Request.h) answers with a PNG file; GET /health says how many requests wait. With
// --port 0 the system chooses a port. Errors are JSON objects {"error": "…"}: 400 for what the client must change, 503
// where too many wait.
//
//===----------------------------------------------------------------------===//
#include "Painter.h"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <httplib.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <pthread.h>

namespace {

using Json = nlohmann::json;

struct Settings {
  Painter::Settings painter;
  std::string host = "127.0.0.1";
  int port = 8080;
};

[[noreturn]] void usage(const std::string &problem) {
  std::fprintf(stderr,
               "error: %s\nusage: flame-serve FOLDER [--artifacts DIR] [--host 127.0.0.1] [--port 8080] [--batch 4]\n"
               "                   [--queue 64] [--memory-limit BYTES] [--device N] [--threads N]\n",
               problem.c_str());
  std::exit(2);
}

Settings parseArguments(int argc, char **argv) {
  Settings settings;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (!name.starts_with("--")) {
      if (!settings.painter.folder.empty())
        usage("there is one folder, not also '" + name + "'");
      settings.painter.folder = name;
      continue;
    }
    if (i + 1 == argc)
      usage(name + " needs a value");
    const char *text = argv[++i];
    const auto number = [&](auto &to, uint64_t least, uint64_t most) {
      uint64_t value = 0;
      const auto parsed = std::from_chars(text, text + std::strlen(text), value);
      if (parsed.ec != std::errc() || *parsed.ptr || value < least || value > most)
        usage(name + " must be an integer from " + std::to_string(least) + " to " + std::to_string(most));
      to = static_cast<std::remove_reference_t<decltype(to)>>(value);
    };
    if (name == "--artifacts")
      settings.painter.artifacts = text;
    else if (name == "--host")
      settings.host = text;
    else if (name == "--port")
      number(settings.port, 0, 65535);
    else if (name == "--batch")
      number(settings.painter.batch, 1, 1024);
    else if (name == "--queue")
      number(settings.painter.queue, 1, 1 << 20);
    else if (name == "--memory-limit")
      number(settings.painter.memoryLimit, 0, UINT64_MAX);
    else if (name == "--device")
      number(settings.painter.device, 0, 1024);
    else if (name == "--threads")
      number(settings.painter.threads, 0, 1024);
    else
      usage("there is no option " + name);
  }
  if (settings.painter.folder.empty())
    usage("the folder of the pipeline is missing");
  return settings;
}

void fail(httplib::Response &response, int status, const std::string &message) {
  response.status = status;
  response.set_content(Json{{"error", message}}.dump(-1, ' ', false, Json::error_handler_t::replace),
                       "application/json");
}

int statusOf(flame_code code) {
  switch (code) {
  case FLAME_INVALID_ARGUMENT:
    return 400;
  case FLAME_CANCELLED:
  case FLAME_OUT_OF_MEMORY:
    return 503;
  default:
    return 500;
  }
}

void answer(Painter &painter, const httplib::Request &request, httplib::Response &response) {
  try {
    std::string png = painter.paint(parseRequest(request.body));
    response.set_content(std::move(png), "image/png");
  } catch (const BadRequest &problem) {
    fail(response, 400, problem.what());
  } catch (const Painter::Busy &problem) {
    response.set_header("Retry-After", "1");
    fail(response, 503, problem.what());
  } catch (const Painter::Failure &problem) {
    fail(response, statusOf(problem.code), problem.what());
  } catch (const std::exception &problem) {
    fail(response, 500, problem.what());
  }
}

/// SIGINT and SIGTERM, blocked in this thread and in all that start from here on: a thread waits for them, for a
/// handler may do next to nothing.
sigset_t blockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN); // of clients that have gone
  return signals;
}

} // namespace

int main(int argc, char **argv) {
  const Settings settings = parseArguments(argc, argv);
  httplib::Server server;
  const sigset_t signals = blockSignals();
  std::optional<Painter> painter;
  try {
    painter.emplace(settings.painter);
  } catch (const Painter::Failure &problem) {
    std::fprintf(stderr, "error: %s\n", problem.what());
    return 1;
  }
  // A client waits in a thread: as many of them as may wait for pictures, and some for those that ask how it goes.
  constexpr size_t kMore = 8, kLargestBody = 1 << 20;
  server.new_task_queue = [&] {
    return new httplib::ThreadPool(settings.painter.queue + settings.painter.batch + kMore);
  };
  server.set_payload_max_length(kLargestBody);
  server.Post("/pictures", [&](const auto &request, auto &response) { answer(*painter, request, response); });
  server.Get("/health", [&](const auto &, auto &response) {
    response.set_content(Json{{"waiting", painter->waiting()}}.dump(), "application/json");
  });
  server.set_error_handler([](const auto &request, auto &response) {
    if (response.body.empty())
      fail(response, response.status,
           response.status == 404 ? "there is no " + request.method + " " + request.path : "the request was refused");
  });
  const int port = settings.port ? settings.port : server.bind_to_any_port(settings.host);
  if (port < 0 || (settings.port && !server.bind_to_port(settings.host, port))) {
    std::fprintf(stderr, "error: can't listen on %s:%d; is the port in use?\n", settings.host.c_str(), settings.port);
    return 1;
  }
  std::thread([signals, &server, &painter] {
    int signal = 0;
    sigwait(&signals, &signal);
    painter->close(); // whose clients get their answers, so that the server can end
    server.stop();
  }).detach();
  std::printf("listening on http://%s:%d\n", settings.host.c_str(), port);
  std::fflush(stdout);
  server.listen_after_bind();
  return 0;
}
