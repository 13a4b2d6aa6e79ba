/* Preloaded, it answers in place of CUDA's runtime and the driver's library what PyTorch asks before it starts the thread that
   runs backward passes on a card: there is one, and it is idle. Nothing is computed here: tests/gpus/pretend.py does that on the
   CPU. It must be linked with the name libcuda.so.1, so that what loads the driver finds this. */
signed char _ZN3c104cuda12device_countEv(void) { return 1; } /* c10::cuda::device_count() */
signed char _ZN3c104cuda29device_count_ensure_non_zeroEv(void) { return 1; }
int cudaGetDeviceCount(int *count) { *count = 1; return 0; }
int cudaGetDevice(int *device) { *device = 0; return 0; }
int cudaSetDevice(int device) { return 0; }
int cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = *greatest = 0; return 0; }
int cudaStreamIsCapturing(void *stream, int *status) { *status = 0; return 0; }
int cudaGetLastError(void) { return 0; }
int cudaPeekAtLastError(void) { return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 0; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "there is no card"; return 0; }
