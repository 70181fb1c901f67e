"""What existing programs send, field by field, as reference data of the tests.

Read from each program's source at the commit named (only requests, no code); where a user must set
something, what docs/clients.md says is set. ``RECORDINGS`` stands for a directory of the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.clients.whole_server import ORIGIN, RECORDING, Words

RECORDINGS = "RECORDINGS"

ENGLISH = "Hello, and welcome to this room. It is good to see all of you here today."
CHINESE = "你好，欢迎来到这里。今天的天气真不错，我们一起去公园散步吧。"
JAPANESE = "こんにちは、ようこそ。今日はとても良い天気ですね。"
PROMPT = {"prompt_text": "These words were said.", "prompt_lang": "en"}

# All of api_v2's parameters, as programs that show them all send them.
FULL_SET: Mapping[str, object] = {
    "top_k": 5,
    "top_p": 1.0,
    "temperature": 1.0,
    "text_split_method": "cut5",
    "batch_size": 1,
    "batch_threshold": 0.75,
    "split_bucket": True,
    "speed_factor": 1.0,
    "fragment_interval": 0.3,
    "seed": -1,
    "parallel_infer": True,
    "repetition_penalty": 1.35,
}


@dataclass(frozen=True)
class Call:
    """One request for speech, and who must be heard saying what."""

    client: str
    method: Literal["GET", "POST"]
    path: str
    fields: Mapping[str, object]  # in the query of a GET, the JSON of a POST
    speaker: str  # a voice or a file of the server
    words: Words
    kind: str = "wav"  # of the answer
    content_type: str = "audio/wav"
    headers: Mapping[str, str] = field(default_factory=dict)
    lowers_values: bool = False  # all but the text

    def filled(self, recordings: str) -> dict[str, object]:
        """Return the fields with the server's directory in them, spelled as the client does."""
        found: dict[str, object] = {}
        for name, value in self.fields.items():
            text = value.replace(RECORDINGS, recordings) if isinstance(value, str) else value
            is_lowered = self.lowers_values and name != "text"
            found[name] = str(text).lower() if is_lowered else text
        return found


_FILE = f"{RECORDINGS}/{RECORDING}"
_ZH_CUT5 = Words(CHINESE, "zh", "cut5")
_EN_CUT5 = Words(ENGLISH, "en", "cut5")

CALLS = (
    Call(
        "SillyTavern gpt-sovits-v2.js f6112298",
        "POST",
        "/",
        {
            "text": ENGLISH,
            "prompt_text": "alice",
            "ref_audio_path": "./参考音频/alice.wav",
            "text_lang": "en",
            "prompt_lang": "zh",
            "text_split_method": "cut5",
            "batch_size": 1,
            "media_type": "ogg",
            "streaming_mode": "true",
        },
        "alice",
        _EN_CUT5,
        "ogg",
        "audio/ogg",
        headers={"Origin": ORIGIN, "Referer": f"{ORIGIN}/", "Sec-Fetch-Site": "same-site"},
    ),
    Call(
        "Open-LLM-VTuber 19b58b1, defaults of the class",
        "GET",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": "",
            "prompt_lang": "zh",
            "prompt_text": "",
            "text_split_method": "cut5",
            "batch_size": "1",
            "media_type": "wav",
            "streaming_mode": "ture",
        },
        "default",
        _ZH_CUT5,
    ),
    Call(
        "Open-LLM-VTuber 19b58b1, its template with a voice",
        "GET",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": "bob",
            "prompt_lang": "zh",
            "prompt_text": "",
            "text_split_method": "cut5",
            "batch_size": "1",
            "media_type": "wav",
            "streaming_mode": "false",
        },
        "bob",
        _ZH_CUT5,
    ),
    Call(
        "pyvideotrans 42d69fb, a role whose recording is a voice's name",
        "POST",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": "alice.wav",
            "prompt_text": "你好呀",
            "prompt_lang": "zh",
            "speed_factor": 1.2,
            "text_split_method": "cut5",
        },
        "alice",
        _ZH_CUT5,
    ),
    Call(
        "LiveTalking a5a77f4",
        "POST",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            "prompt_text": "你好",
            "prompt_lang": "zh",
            "media_type": "ogg",
            "streaming_mode": True,
        },
        RECORDING,
        _ZH_CUT5,
        "ogg files",
        "audio/ogg",
    ),
    Call(
        "AstrBot gsv_selfhost 19d00fb1",
        "GET",
        "/tts",
        {
            "ref_audio_path": _FILE,
            **PROMPT,
            "aux_ref_audio_paths": "",
            "text_lang": "zh",
            **FULL_SET,
            "text_split_method": "cut3",
            "streaming_mode": False,
            "media_type": "wav",
            "text": CHINESE,
        },
        RECORDING,
        Words(CHINESE, "zh", "cut3"),
        lowers_values=True,
    ),
    Call(
        "MaiBot maimbot_tts_adapter 408ceed, stream",
        "GET",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            **PROMPT,
            "top_k": 5,
            "top_p": 1.0,
            "temperature": 1.0,
            "text_split_method": "cut5",
            "batch_size": 1,
            "batch_threshold": 0.75,
            "speed_factor": 1.0,
            "streaming_mode": "True",
            "media_type": "wav",
            "repetition_penalty": 1.35,
            "sample_steps": 32,
            "super_sampling": "False",
        },
        RECORDING,
        _ZH_CUT5,
        headers={"Connection": "keep-alive"},
    ),
    Call(
        "LunaTranslator c7940af, v2 by GET",
        "GET",
        "/tts",
        {"text": JAPANESE, "text_lang": "ja", "speed_factor": 1.0},
        "default",
        Words(JAPANESE, "ja", "cut5"),
        headers={"ngrok-skip-browser-warning": "true"},
    ),
    Call(
        "LunaTranslator 3115ded, v2 by POST",
        "POST",
        "/tts",
        {"text": JAPANESE, "text_lang": "ja", "speed_factor": 1.2},
        "default",
        Words(JAPANESE, "ja", "cut5"),
    ),
    Call(
        "koishi-plugin-locatts cb72772d",
        "POST",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            "aux_ref_audio_paths": [],
            **PROMPT,
            **FULL_SET,
            "media_type": "wav",
            "streaming_mode": False,
        },
        RECORDING,
        _ZH_CUT5,
    ),
    Call(
        "xiaozhi-esp32-server 7475ea2, v2",
        "POST",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            "aux_ref_audio_paths": [],
            **PROMPT,
            **FULL_SET,
            "split_bucket": "True",
            "parallel_infer": "True",
            "return_fragment": "False",
            "streaming_mode": "False",
            "media_type": "wav",
        },
        RECORDING,
        _ZH_CUT5,
    ),
    Call(
        "Fay 2462bd2",
        "POST",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            **PROMPT,
            **FULL_SET,
            "media_type": "wav",
            "streaming_mode": False,
        },
        RECORDING,
        _ZH_CUT5,
    ),
    Call(
        "VideoLingo dfbdc00",
        "POST",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            "prompt_lang": "zh",
            "prompt_text": "你好",
            "speed_factor": 1.0,
        },
        RECORDING,
        _ZH_CUT5,
    ),
    Call(
        "Shinsekai 6e6c4fd",
        "POST",
        "/tts",
        {
            "text": JAPANESE,
            "text_lang": "ja",
            "ref_audio_path": _FILE,
            **PROMPT,
            "text_split_method": "cut5",
            "batch_size": 1,
        },
        RECORDING,
        Words(JAPANESE, "ja", "cut5"),
    ),
    Call(
        "haide-D/SillyTavern-GPT-SoVITS 38952207",
        "GET",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            "prompt_text": "你好",
            "prompt_lang": "zh",
            "streaming_mode": "false",
        },
        RECORDING,
        _ZH_CUT5,
    ),
    Call(
        "legado, a user's template",
        "GET",
        "/tts",
        {"text": CHINESE, "text_lang": "zh", "speed_factor": "1.5", "media_type": "mp3"},
        "default",
        _ZH_CUT5,
        "mp3",
        "audio/mpeg",
    ),
    Call(
        "any program that wants bare samples",
        "POST",
        "/tts",
        {
            "text": ENGLISH,
            "text_lang": "en",
            "ref_audio_path": _FILE,
            "media_type": "raw",
            "streaming_mode": True,
        },
        RECORDING,
        _EN_CUT5,
        "raw",
        "audio/raw",
    ),
    Call(
        "SillyTavern openai-compatible.js 414e28b",
        "POST",
        "/v1/audio/speech",
        {
            "model": "tts-1",
            "input": ENGLISH,
            "voice": "alice",
            "response_format": "mp3",
            "speed": 1,
        },
        "alice",
        Words(ENGLISH),
        "mp3",
        "audio/mpeg",
        headers={"Authorization": "Bearer none", "Sec-Fetch-Mode": "cors", "User-Agent": "node"},
    ),
    Call(
        "pipecat OpenAITTSService acead05",
        "POST",
        "/v1/audio/speech",
        {
            "input": ENGLISH,
            "model": "gpt-4o-mini-tts",
            "voice": "alloy",
            "response_format": "pcm",
            "instructions": "Speak warmly.",
            "speed": 1.0,
        },
        "default",
        Words(ENGLISH),
        "pcm",
        "audio/pcm",
    ),
)

# Requests in dialects that are not served yet: method, path, fields, and the field to be named.
NOT_YET: Mapping[str, tuple[str, str, Mapping[str, object], str]] = {
    "MoneyPrinterPlus d2c6f39": (
        "POST",
        "/",
        {
            "text": CHINESE,
            "text_language": "zh",
            "refer_wav_path": _FILE,
            "prompt_text": "你好",
            "prompt_language": "zh",
            "top_k": 15,
            "top_p": 1,
            "temperature": 1,
            "speed": 1,
        },
        "text_lang",
    ),
    "LunaTranslator 3115ded, v1": (
        "POST",
        "/",
        {"text": CHINESE, "text_language": "zh", "speed": 1.0},
        "text_lang",
    ),
    "xiaozhi-esp32-server 7475ea2, v3": (
        "GET",
        "/",
        {
            "refer_wav_path": _FILE,
            "prompt_text": "你好",
            "prompt_language": "zh",
            "text": CHINESE,
            "text_language": "auto",
            "top_k": 15,
            "top_p": 1.0,
            "temperature": 1.0,
            "cut_punc": "",
            "speed": 1.0,
            "inp_refs": [],
            "sample_steps": 32,
            "if_sr": False,
        },
        "text_lang",
    ),
    "SillyTavern gsvi.js 699d640": (
        "GET",
        "/tts",
        {
            "text": CHINESE,
            "cha_name": "alice",
            "text_language": "多语种混合",
            "batch_size": 10,
            "speed": 1,
            "top_k": 6,
            "top_p": 0.85,
            "temperature": 0.75,
            "stream": "false",
        },
        "text_lang",
    ),
    "SillyTavern gpt-sovits-adapter.js 07c34e0": (
        "POST",
        "/",
        {
            "text": CHINESE,
            "card_name": "Someone",
            "use_st_adapter": True,
            "target_voice": "alice",
            "text_lang": "zh",
            "text_split_method": "cut5",
            "batch_size": 1,
            "media_type": "wav",
            "streaming_mode": "true",
        },
        "target_voice",
    ),
    "A-Dawn/call_me f24fc3e": (
        "GET",
        "/tts",
        {
            "text": CHINESE,
            "text_lang": "zh",
            "ref_audio_path": _FILE,
            "prompt_text": "你好",
            "prompt_lang": "zh",
            "streaming_mode": "true",
            "media_type": "wav",
            "gpt_weights": "GPT_weights_v2/alice-e15.ckpt",
            "sovits_weights": "SoVITS_weights_v2/alice_e8_s200.pth",
        },
        "/set_gpt_weights",
    ),
}
