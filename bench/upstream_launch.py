"""Start GPT-SoVITS's own api_v2.py where its packages and weights are not all there.

Runs in upstream's Python, from upstream's checkout, and imports nothing of ours. What is missing is
replaced by the least that lets the server start and speak English: torchcodec (torchaudio.load reads
by soundfile instead), jieba_fast (jieba has the same functions; English does not call them) and
NLTK's data (a tagger without weights, which calls every word a noun, and a pronouncing dictionary
that upstream replaces by its own).

    python upstream_launch.py MODEL SCRATCH --device cuda --tokens 125 --port 9880
"""

import argparse
import importlib.util
import json
import runpy
import sys
import zipfile
from importlib import import_module
from pathlib import Path

# Upstream's settings and the directories of their encoders; the first is upstream's spelling.
ENCODERS = {
    "cnhuhbert_base_path": "chinese-hubert-base",
    "bert_base_path": "chinese-roberta-wwm-ext-large",
}


def main() -> None:
    """Prepare everything and become api_v2.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="made by sovits-serve models random")
    parser.add_argument("scratch", type=Path, help="an empty directory")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--version", default="v2")
    parser.add_argument("--tokens", type=int, default=125, help="of every sentence")
    parser.add_argument("--port", type=int, default=9880)
    args = parser.parse_args()
    checkout = Path.cwd()
    sys.path[:0] = [str(checkout), str(checkout / "GPT_SoVITS")]
    replace_torchcodec()
    replace_jieba_fast()
    replace_nltk_data(args.scratch / "nltk_data")
    t2s = args.scratch / "gpt.ckpt"
    write_t2s(args.model / "gpt.ckpt", t2s, args.tokens)
    for name in ENCODERS.values():
        link_encoder(args.model / name, args.scratch / name)
    settings = args.scratch / "tts_infer.yaml"
    settings.write_text(json.dumps({"custom": config(args, t2s)}))  # JSON is YAML
    sys.argv = ["api_v2.py", "-a", "127.0.0.1", "-p", str(args.port), "-c", str(settings)]
    runpy.run_path("api_v2.py", run_name="__main__")


def config(args: argparse.Namespace, t2s: Path) -> dict[str, object]:
    """Return upstream's settings: half precision on a GPU is its default there."""
    return {
        **{key: str(args.scratch / name) for key, name in ENCODERS.items()},
        "device": args.device,
        "is_half": args.device != "cpu",
        "t2s_weights_path": str(t2s),
        "vits_weights_path": str(args.model / "sovits.pth"),
        "version": args.version,
    }


def write_t2s(source: Path, copy: Path, num_tokens: int) -> None:
    """Copy a GPT checkpoint so that upstream ends each sentence after so many tokens.

    It stops after 50 tokens per second of ``max_sec`` (and speaks 25 a second); the end token's
    logit is made zero, far below the fifteen best.
    """
    import torch

    checkpoint = torch.load(source, map_location="cpu", weights_only=False)
    checkpoint["config"]["data"]["max_sec"] = num_tokens / 50
    end = checkpoint["config"]["model"]["EOS"]
    checkpoint["weight"]["model.ar_predict_layer.weight"][end] = 0
    torch.save(checkpoint, copy)


def link_encoder(source: Path, copy: Path) -> Path:
    """Return a Hugging Face directory like the source, with what the published ones have beside.

    Upstream expects float32 weights, which transformers 5 no longer makes of a float16 file unasked.
    """
    copy.mkdir()
    for path in source.iterdir():
        if path.name != "config.json":
            (copy / path.name).symlink_to(path)
    config = json.loads((source / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "torch_dtype": "float32"}))
    published = {"do_normalize": True, "feature_size": 1, "padding_side": "right"}
    published |= {"padding_value": 0, "return_attention_mask": False, "sampling_rate": 16_000}
    published["feature_extractor_type"] = "Wav2Vec2FeatureExtractor"
    (copy / "preprocessor_config.json").write_text(json.dumps(published))
    return copy


def replace_torchcodec() -> None:
    """Let torchaudio read files by soundfile, as it did before it needed torchcodec."""
    if importlib.util.find_spec("torchcodec"):
        return
    import soundfile
    import torch

    def load(path: str) -> tuple[object, int]:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T.copy()), rate_hz

    vars(import_module("torchaudio"))["load"] = load


def replace_jieba_fast() -> None:
    """Let jieba stand for its faster twin."""
    if importlib.util.find_spec("jieba_fast"):
        return
    for name in ("jieba", "jieba.posseg"):
        sys.modules[name.replace("jieba", "jieba_fast")] = import_module(name)


def replace_nltk_data(directory: Path) -> None:
    """Give NLTK the least that the English frontend looks for, unless it has the real data."""
    data = import_module("nltk.data")
    try:
        data.find("taggers/averaged_perceptron_tagger_eng/")
    except LookupError:
        data.path.insert(0, str(directory))
    else:
        return
    name = "averaged_perceptron_tagger_eng"
    tagger = directory / "taggers" / name
    tagger.mkdir(parents=True)
    for part, content in (("weights", "{}"), ("tagdict", "{}"), ("classes", '["NN"]')):
        (tagger / f"{name}.{part}.json").write_text(content)
    for path, entries in (
        ("taggers/averaged_perceptron_tagger.zip", {"averaged_perceptron_tagger/none": ""}),
        ("corpora/cmudict.zip", {"cmudict/": "", "cmudict/cmudict": "A 1 AH0\n"}),
    ):
        (directory / path).parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(directory / path, "w") as archive:
            for entry, text in entries.items():
                archive.writestr(entry, text)


if __name__ == "__main__":
    main()
