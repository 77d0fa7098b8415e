//===- Painter.cpp - see Painter.h -----------------------------------------===//
#include "Painter.h"

namespace {

void check(flame_status *status) {
  if (!status)
    return;
  const std::unique_ptr<flame_status, void (*)(flame_status *)> owner(status, flame_status_free);
  throw Painter::Failure(flame_status_code(status), flame_status_message(status));
}

flame_pipeline *load(const Painter::Settings &settings) {
  flame_pipeline_options options{};
  options.struct_size = sizeof options;
  options.artifacts = settings.artifacts.empty() ? nullptr : settings.artifacts.c_str();
  options.memory_limit = settings.memoryLimit;
  options.device = settings.device;
  options.threads = settings.threads;
  flame_pipeline *pipeline = nullptr;
  check(flame_pipeline_load(settings.folder.c_str(), &options, &pipeline));
  return pipeline;
}

} // namespace

Painter::Painter(const Settings &settings)
    : settings(settings), pipeline(load(settings), flame_pipeline_release), worker([this] { work(); }) {}

Painter::~Painter() {
  close();
  worker.join();
}

void Painter::close() {
  {
    const std::lock_guard lock(mutex);
    ending = true;
  }
  wake.notify_all();
}

std::string Painter::paint(Request request) {
  std::future<std::string> result;
  {
    const std::lock_guard lock(mutex);
    if (ending || queue.size() >= settings.queue)
      throw Busy("too many requests are waiting; try again later");
    queue.push_back({std::move(request), {}});
    result = queue.back().result.get_future();
  }
  wake.notify_one();
  return result.get();
}

size_t Painter::waiting() const {
  const std::lock_guard lock(mutex);
  return queue.size() + active;
}

std::vector<Painter::Job> Painter::take() {
  std::unique_lock lock(mutex);
  active = 0;
  wake.wait(lock, [&] { return ending || !queue.empty(); });
  std::vector<Job> jobs;
  if (ending)
    return jobs;
  jobs.push_back(std::move(queue.front()));
  queue.pop_front();
  for (auto job = queue.begin(); job != queue.end() && jobs.size() < settings.batch;) {
    if (!job->request.goesWith(jobs.front().request)) {
      ++job;
      continue;
    }
    jobs.push_back(std::move(*job));
    job = queue.erase(job);
  }
  active = jobs.size();
  return jobs;
}

void Painter::run(std::vector<Job> &jobs) {
  std::vector<const char *> prompts;
  std::vector<uint64_t> seeds;
  for (const Job &job : jobs) {
    prompts.push_back(job.request.prompt.c_str());
    seeds.push_back(job.request.seed);
  }
  const Request &common = jobs.front().request;
  flame_generate_options options{};
  options.struct_size = sizeof options;
  options.prompts = prompts.data();
  options.prompt_count = prompts.size();
  options.seeds = seeds.data();
  options.width = common.width;
  options.height = common.height;
  options.steps = common.steps;
  options.text_tokens = common.textTokens;
  options.guidance = common.guidance;
  options.progress = [](const flame_progress *, void *painter) -> int {
    return static_cast<Painter *>(painter)->ending;
  };
  options.progress_user = this;
  std::vector<flame_image *> raw(jobs.size());
  check(flame_pipeline_generate(pipeline.get(), &options, raw.data()));
  std::vector<std::unique_ptr<flame_image, void (*)(flame_image *)>> images;
  for (flame_image *image : raw)
    images.emplace_back(image, flame_image_release);
  for (size_t i = 0; i < jobs.size(); ++i) {
    const uint8_t *data = nullptr;
    size_t bytes = 0;
    check(flame_image_png(images[i].get(), nullptr, 0, &data, &bytes));
    jobs[i].result.set_value(std::string(reinterpret_cast<const char *>(data), bytes));
  }
}

void Painter::work() {
  for (std::vector<Job> jobs = take(); !jobs.empty(); jobs = take()) {
    try {
      run(jobs);
    } catch (...) {
      for (Job &job : jobs) {
        try {
          job.result.set_exception(std::current_exception());
        } catch (const std::future_error &) { // it has its picture
        }
      }
    }
  }
  const std::lock_guard lock(mutex);
  for (Job &job : queue)
    job.result.set_exception(std::make_exception_ptr(Failure(FLAME_CANCELLED, "the server ends")));
  queue.clear();
}
