/*===- flame_diffusion.h - text to pictures: the C interface of libflame_diffusion
 *------------------------------------===*
 *
 * Tokenizers, schedules, random numbers and pictures as diffusers, transformers and PyTorch make them, and the pipeline
 *that runs compiled models with them: no Python in the process. On top of flame_rt.h, whose conventions hold here, too:
 * functions that can fail return flame_status* (NULL on success), NULL handles are errors or no-ops, output parameters
 *are written on success only, strings are UTF-8.
 *
 * Objects of this interface are not reference-counted: *_release ends them. Different threads may use one tokenizer or
 * image at a time together; everything else one thread after another, but for flame_pipeline_cancel.
 *
 *===-------------------------------------------------------------------------------------------------------------------===*/
#ifndef FLAME_DIFFUSION_H
#define FLAME_DIFFUSION_H

#include "flame_rt.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- tokenizers ----------------------------------------------------------------------------------------------- */

typedef struct flame_tokenizer flame_tokenizer;

/** Reads a folder that transformers saved: a CLIPTokenizer (tokenizer.json, or vocab.json and merges.txt) or a
 * T5Tokenizer (tokenizer.json or spiece.model), with tokenizer_config.json and special_tokens_map.json where they are.
 *  Errors: FLAME_IO, FLAME_BAD_DATA (a damaged file), FLAME_UNSUPPORTED (another class). */
FLAME_API flame_status *flame_tokenizer_load(const char *folder, flame_tokenizer **tokenizer);
FLAME_API void flame_tokenizer_release(flame_tokenizer *tokenizer);
/** Ids of the longest text that the model takes, special ones included: 77 for CLIP. */
FLAME_API size_t flame_tokenizer_max_length(const flame_tokenizer *tokenizer);
/** Exactly `length` ids (0: flame_tokenizer_max_length) into `ids`, as `tokenizer(text, padding="max_length",
 *  truncation=True, max_length=length)` returns them. `text` has `bytes` bytes. *used (may be NULL): ids before the
 * padding; *dropped (may be NULL): tokens of the text that did not fit. Errors: FLAME_INVALID_ARGUMENT (no UTF-8; a
 * length that leaves no place beside the special ids). */
FLAME_API flame_status *flame_tokenizer_encode(const flame_tokenizer *tokenizer, const char *text, size_t bytes,
                                               size_t length, int32_t *ids, size_t *used, size_t *dropped);
/** All ids of a text without those that flame_tokenizer_encode adds, nothing cut off: at most `capacity` of them into
 * `ids`, and how many there are into *count. */
FLAME_API flame_status *flame_tokenizer_tokens(const flame_tokenizer *tokenizer, const char *text, size_t bytes,
                                               int32_t *ids, size_t capacity, size_t *count);

/* ---- random numbers ------------------------------------------------------------------------------------------- */

typedef struct flame_generator flame_generator;
typedef enum flame_generator_kind {
  FLAME_GENERATOR_CPU = 0,  /* torch.Generator("cpu"): the same pictures on every machine */
  FLAME_GENERATOR_CUDA = 1, /* torch.Generator("cuda"), drawn on this machine's first GPU; where there is none, computed
                               as an H100 or H200 would: f32 numbers are then within 4e-6 of PyTorch's, and of bf16 ones
                               about 1 in 4000 is rounded the other way */
  FLAME_GENERATOR_FORCE_INT = 0x7FFFFFFF
} flame_generator_kind;

FLAME_API flame_status *flame_generator_create(flame_generator_kind kind, uint64_t seed, flame_generator **generator);
FLAME_API void flame_generator_release(flame_generator *generator);
/** The next `count` numbers of torch.randn(count, generator=…, dtype=…): f32, f64, f16 or bf16. The numbers of a call
 * depend on its count, as in PyTorch. Errors: FLAME_UNSUPPORTED (another type). */
FLAME_API flame_status *flame_generator_normal(flame_generator *generator, flame_dtype dtype, void *out, size_t count);

/* ---- schedules ------------------------------------------------------------------------------------------------ */

typedef struct flame_scheduler flame_scheduler;

/** Reads a scheduler_config.json: FlowMatchEulerDiscreteScheduler, EulerDiscreteScheduler or DDIMScheduler.
 *  Errors: FLAME_IO, FLAME_BAD_DATA, FLAME_UNSUPPORTED (another class, an option that is not supported). */
FLAME_API flame_status *flame_scheduler_load(const char *path, flame_scheduler **scheduler);
FLAME_API void flame_scheduler_release(flame_scheduler *scheduler);
/** Makes a schedule of `steps` steps. `image_tokens`: how many tokens a picture has in the transformer (a quarter of
 * the latent's pixels for FLUX); only schedules with dynamic shifting use it. Errors: FLAME_INVALID_ARGUMENT. */
FLAME_API flame_status *flame_scheduler_prepare(flame_scheduler *scheduler, size_t steps, size_t image_tokens);
/** Of the last schedule: at most `capacity` numbers, and how many there are as the result. What the model is told of
 * each step; the noise before each step and after the last one (none for DDIM). */
FLAME_API size_t flame_scheduler_timesteps(const flame_scheduler *scheduler, float *timesteps, size_t capacity);
FLAME_API size_t flame_scheduler_sigmas(const flame_scheduler *scheduler, float *sigmas, size_t capacity);
/** The deviation of the noise that a schedule begins with; 1 for NULL. */
FLAME_API float flame_scheduler_initial_scale(const flame_scheduler *scheduler);
/** Makes of a sample what the model takes in step `step`, in place: `count` elements of f32, f16 or bf16. */
FLAME_API flame_status *flame_scheduler_scale_input(const flame_scheduler *scheduler, size_t step, flame_dtype dtype,
                                                    void *sample, size_t count);
/** Takes step `step`: `sample` becomes the next one, in place; `prediction` is what the model said. `count` elements
 * each of f32, f16 or bf16; computed in f32 and rounded where diffusers rounds. */
FLAME_API flame_status *flame_scheduler_step(const flame_scheduler *scheduler, size_t step, flame_dtype dtype,
                                             const void *prediction, void *sample, size_t count);

/* ---- pictures ------------------------------------------------------------------------------------------------- */

/** Rows of `width` pixels of three bytes (red, green, blue), the uppermost first. */
typedef struct flame_image flame_image;
/** A text for the file: `keyword` has 1 to 79 printable ASCII characters. */
typedef struct flame_image_text {
  const char *keyword;
  const char *value;
} flame_image_text;

/** Copies `width` x `height` pixels. Errors: FLAME_INVALID_ARGUMENT (a size of zero or beyond 2^31 - 1). */
FLAME_API flame_status *flame_image_create(size_t width, size_t height, const uint8_t *pixels, flame_image **image);
/** A picture of what a VAE decodes: a [3, height, width] tensor of f32, f16 or bf16 in [-1, 1], rounded as diffusers'
 *  VaeImageProcessor rounds. What is no number becomes black, and *bad (may be NULL) says how many values were none. */
FLAME_API flame_status *flame_image_from_tensor(flame_dtype dtype, const void *tensor, size_t width, size_t height,
                                                flame_image **image, size_t *bad);
FLAME_API void flame_image_release(flame_image *image);
FLAME_API size_t flame_image_width(const flame_image *image);
FLAME_API size_t flame_image_height(const flame_image *image);
FLAME_API const uint8_t *flame_image_pixels(const flame_image *image);
/** The bytes of a PNG file with these texts besides the picture's own (a pipeline's pictures carry their parameters
 * under "parameters", as JSON). *data is the image's and lives until the next call for it. */
FLAME_API flame_status *flame_image_png(flame_image *image, const flame_image_text *texts, size_t count,
                                        const uint8_t **data, size_t *bytes);
/** Writes a PNG file, whole or not at all. Errors: FLAME_IO. */
FLAME_API flame_status *flame_image_save(flame_image *image, const flame_image_text *texts, size_t count,
                                         const char *path);

/* ---- pipelines ------------------------------------------------------------------------------------------------ */

typedef struct flame_pipeline flame_pipeline;

/** Set struct_size to sizeof(flame_pipeline_options), everything else may stay zero. */
typedef struct flame_pipeline_options {
  size_t struct_size;
  const char *artifacts; /* folder of text_encoder.flame, text_encoder_2.flame, transformer.flame, vae.flame; NULL: the
                            pipeline's folder. Weights are looked for in the pipeline's folder of the same name */
  uint64_t memory_limit; /* bytes that all parts together may hold, as flame_options counts them; what is idle is moved
                            out of the way (from a GPU to where it was read from) as far as that is needed. 0: none */
  int32_t threads;       /* as in flame_options */
  int32_t device;
  flame_log_fn log;
  void *log_user;
} flame_pipeline_options;

/** Opens a folder that diffusers saved (model_index.json of a FluxPipeline) and whose models are compiled. Errors:
 * FLAME_IO, FLAME_BAD_DATA, FLAME_UNSUPPORTED (another pipeline), and those of flame_module_load for each part. */
FLAME_API flame_status *flame_pipeline_load(const char *folder, const flame_pipeline_options *options,
                                            flame_pipeline **pipeline);
FLAME_API void flame_pipeline_release(flame_pipeline *pipeline);

/** Folders of a diffusers folder with models to compile, which are also the names of the artifacts: "text_encoder",
 *  "text_encoder_2", "transformer", "vae". NULL where `index` is too large. */
FLAME_API const char *flame_pipeline_part(size_t index);
/** What `flamec compile --part` calls the thing to compile of that folder: "step" of the transformer, "pictures" of the VAE;
 *  "" where there is one thing only; NULL where `index` is too large. */
FLAME_API const char *flame_pipeline_part_kind(size_t index);

typedef enum flame_stage {
  FLAME_STAGE_ENCODE = 0,  /* texts; step counts prompts */
  FLAME_STAGE_DENOISE = 1, /* step counts the schedule's steps, batch by batch */
  FLAME_STAGE_DECODE = 2,  /* step counts pictures */
  FLAME_STAGE_FORCE_INT = 0x7FFFFFFF
} flame_stage;
typedef struct flame_progress {
  flame_stage stage;
  size_t step;    /* done, from 0 on, when a stage begins, to `steps` */
  size_t steps;   /* of this stage */
  double seconds; /* since the stage began, without the time that bringing weights to the GPU took */
} flame_progress;
/** Called when a stage begins and after each of its steps. A result other than 0 ends the run with FLAME_CANCELLED. With a
 *  progress function each step of denoising is waited for; without one they follow each other on the GPU. */
typedef int (*flame_progress_fn)(const flame_progress *progress, void *user);

/** Whether the VAE decodes a picture in tiles, as diffusers' enable_vae_tiling has it: what it needs is then that of a tile,
 *  and the picture is a little different. AUTO: where the memory limit leaves it no other way, in the largest tiles that do. */
typedef enum flame_tiling {
  FLAME_TILING_AUTO = 0,
  FLAME_TILING_ON = 1, /* pictures that are larger than a tile */
  FLAME_TILING_OFF = 2,
  FLAME_TILING_FORCE_INT = 0x7FFFFFFF
} flame_tiling;

/** Set struct_size to sizeof(flame_generate_options); what stays zero has the default that is said. */
typedef struct flame_generate_options {
  size_t struct_size;
  const char *const *prompts; /* at least one */
  size_t prompt_count;
  size_t images;         /* of each prompt; 0: 1 */
  const uint64_t *seeds; /* one for each picture, prompt by prompt; NULL: `seed`, `seed` + 1, … for each prompt */
  uint64_t seed;
  size_t steps; /* 0: 4 for a distilled model (FLUX.1-schnell), otherwise 28 */
  size_t width; /* pixels, multiples of twice the VAE's scale (16 for FLUX); 0: 1024, or what the model was made for */
  size_t height;
  double guidance;    /* only for models with a guidance embedding (FLUX.1-dev); 0: 3.5 */
  size_t text_tokens; /* of the T5 encoder; 0: 256 for a distilled model, otherwise 512 */
  size_t batch;       /* pictures that are denoised together; 0: all. No picture depends on it but for the rounding of
                         products       of other sizes */
  flame_generator_kind generator;
  flame_progress_fn progress;
  void *progress_user;
  flame_tiling vae_tiling;
  size_t tile_sample_min_size; /* side of a tile in pixels, a multiple of what width is; 0: the VAE's sample_size (1024) */
  double tile_overlap_factor;  /* part of a tile that overlaps the next one; 0: 0.25 */
} flame_generate_options;

/** Makes prompt_count * images pictures into `images_out`, an array of as many entries; the caller releases them.
 * Errors: FLAME_INVALID_ARGUMENT (no prompt, a size or number that cannot be), FLAME_CANCELLED, FLAME_BAD_DATA (a
 * picture came out with values that are no numbers), and those of flame_session_run. On an error no picture is
 * returned. */
FLAME_API flame_status *flame_pipeline_generate(flame_pipeline *pipeline, const flame_generate_options *options,
                                                flame_image **images_out);
/** Ends the run in progress, if there is one, with FLAME_CANCELLED at its next command. From any thread. */
FLAME_API void flame_pipeline_cancel(flame_pipeline *pipeline);

/** Of the last run. Set struct_size to sizeof(flame_statistics). */
typedef struct flame_statistics {
  size_t struct_size;
  double seconds[3];      /* of each stage, by flame_stage */
  double loading_seconds; /* bringing weights to the GPU, computing initialised weights; in no stage's time */
  uint64_t peak_bytes;    /* the most that the parts held together: tensors, and weights that are on the GPU or initialised */
  uint64_t texts_encoded; /* prompts that were not in the cache, which keeps the last 32 */
  uint64_t parts_loaded;  /* weights that were brought to the GPU */
} flame_statistics;
/** Writes as many fields as the caller's struct_size covers. Not during a run. */
FLAME_API flame_status *flame_pipeline_statistics(const flame_pipeline *pipeline, flame_statistics *statistics);

/** What flame_pipeline_generate with these options will hold at its peak, before anything is allocated. Set struct_size to
 *  sizeof(flame_memory_plan). */
typedef struct flame_memory_plan {
  size_t struct_size;
  uint64_t peak_bytes;       /* within the memory limit, if each part fits there */
  uint64_t weight_bytes[4];  /* of each part, by flame_pipeline_part */
  uint64_t run_bytes[4];     /* of each part beside its weights, while it runs or, where that is more, is loaded */
  size_t tile_sample_size;   /* side of the tiles that pictures are decoded in, pixels; 0: as a whole */
} flame_memory_plan;
/** Errors: as flame_pipeline_generate for these options. */
FLAME_API flame_status *flame_pipeline_plan(flame_pipeline *pipeline, const flame_generate_options *options,
                                            flame_memory_plan *plan);

/** Time by command in the parts' sessions, as flame_session_profile; gathered from the moment it is switched on, and lost where a
 *  part is moved out of the way. Not during a run. */
FLAME_API flame_status *flame_pipeline_profile(flame_pipeline *pipeline, int enable);
/** The session of a part, for flame_session_profile_entries and its like; NULL before the part has run, and where it was moved out of
 *  the way. It is the pipeline's: valid until the next run, and not to be run or released. */
FLAME_API flame_session *flame_pipeline_session(const flame_pipeline *pipeline, size_t part);

#ifdef __cplusplus
}
#endif
#endif
