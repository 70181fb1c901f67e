"""One of each message, with every field that a message can have."""

from sovits_serve.protocol import messages as m

_TEXT = m.PhonemizedText(
    (1, 2, 3), (m.TextSpan(0, "你好", (1, 2)),), "你好", lead_pause_s=0.5, pause_s=0.25
)
_AUDIO = m.ReferenceAudio(bytes(range(256)), 32_000, 2, "key")
_INFO = m.ModelInfo("name", "v2Pro", "v2", 32_000, can_read_chinese=True)
_ENGINE = m.EngineStatus(
    "cuda:0", "ready", "cuda:0", 7, 0.5, "detail", 2, 9, 0.1, 3, 4, 5, 6, 7, ("name",), ("line",)
)

SAMPLES: tuple[m.Message, ...] = (
    m.SynthesisRequest(
        "id",
        (_TEXT, _TEXT),
        m.Reference(_AUDIO, _TEXT, (_AUDIO,)),
        m.SamplingParams(2**31, None, 0.9, 0.7, 1.2, 99),
        speed=1.5,
        noise_scale=0.1,
        early_tokens=16,
        segment_pause_s=0.0,
        is_streaming=True,
        model="name",
        timeout_s=3.5,
    ),
    m.Abort("id"),
    m.PutRecording("key", _AUDIO),
    m.Hello("engine", "cuda:0#1", 7, token="secret"),
    m.Welcome(),
    m.Submit("id", b"\x00\xff", ("key",), "name", "batch", "client", 3.0, 12),
    m.SwitchModel("call", "/a.ckpt", None),
    m.SwitchReference("call", "key", "name"),
    m.GetMetrics("call"),
    m.Observe((m.HttpSample("/tts", 200, 0.5, "complete"),)),
    m.StatusSeen(3),
    m.CallDone("call"),
    m.CallFailed("call", "code", "message"),
    m.Metrics("call", b"text"),
    m.Status(
        1,
        "starting",
        "reason",
        (_ENGINE,),
        m.QueueStatus(1, 2, 3, 4, 5, 6, 7, 0.1, 0.2, 0.3, 0.4),
        (_INFO,),
        m.Defaults("name", "key", "voice.wav"),
        2.5,
    ),
    m.DropRecording("key"),
    m.LoadModel("name", "/a.ckpt", "/b.pth"),
    m.UnloadModel("name"),
    m.Drain(),
    m.EngineReady("cuda:0", (_INFO,), 16, "/a.ckpt", "/b.pth", 3),
    m.EngineLoad(1, 2, 3),
    m.EngineDraining(),
    m.ModelLoaded(_INFO),
    m.ModelFailed("name", "code", "message"),
    m.AudioChunk("id", 0, 1, 32_000, b"\x01\x02"),
    m.Finished("id", 64, (25, 30)),
    m.Failed("id", "code", "message", 1.5),
    m.Aborted("id"),
    m.Fleet("ready", "reason", (_ENGINE,), 2, 3),
    m.Keepsake("/t2s", "/sovits", (1, 2), m.PutRecording("key", _AUDIO), "anna"),
    m.QueueReport(1, 2, ("cuda:0#1",)),
)
