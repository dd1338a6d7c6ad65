{
  # "unsupported" builds on Linux what the other systems get, for a test.
  "variables": {"spanwire_platform%": "<(OS)"},
  "targets": [
    {
      "target_name": "spanwire",
      "sources": [
        "native/binding/addon.cpp",
        "native/binding/host.cpp",
        "native/binding/loop_waker.cpp",
        "native/binding/thread_waker.cpp",
        "native/pump/hub.cpp",
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        # A worker that is being terminated cannot throw; without this the whole process would end.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      "cflags": ["-Wall", "-Wextra"],
      "cflags_cc": ["-std=gnu++20", "-fvisibility=hidden"],
      "xcode_settings": {
        "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
        "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      },
      "msvs_settings": {"VCCLCompilerTool": {"AdditionalOptions": ["/std:c++20"]}},
      "conditions": [
        [
          "spanwire_platform=='linux'",
          {
            # Nothing newer than the oldest C library is needed to load it.
            "ldflags": ["-static-libstdc++", "-static-libgcc"],
            # The layout of named objects and futexes is for Linux alone.
            "defines": ["SPANWIRE_BARRETENBERG"],
            "sources": [
              "native/platform/cpu_linux.cpp",
              "native/platform/doorbell_linux.cpp",
              "native/platform/memory_linux.cpp",
              "native/platform/poller_linux.cpp",
              "native/platform/rendezvous_linux.cpp",
              "native/barretenberg/binding/host.cpp",
              "native/barretenberg/futex_linux.cpp",
              "native/barretenberg/inbox.cpp",
              "native/barretenberg/objects_linux.cpp",
              "native/barretenberg/process_linux.cpp",
              "native/barretenberg/watcher_linux.cpp",
              "native/barretenberg/wire.cpp",
            ],
          },
          {"sources": ["native/platform/unsupported.cpp"]},
        ],
      ],
    }
  ]
}
