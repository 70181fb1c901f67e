import pytest
import torch
from torch import Tensor

from sovits_serve.engine.graph_decoder import GraphDecoder, can_decode
from sovits_serve.engine.paged_cache import PagedCache
from sovits_serve.engine.row_table import NewRow, RowTable
from sovits_serve.engine.sampling import SamplingState, sample
from sovits_serve.models.cuda.decode_kernels import SlotField
from sovits_serve.models.cuda.pages import PAGE_TOKENS
from sovits_serve.models.cuda.sample_kernel import IS_EOS, IS_NOT_FINITE, IS_VALID
from sovits_serve.models.spec import T2SDims
from sovits_serve.protocol.messages import SamplingParams
from tests.models.t2s.generation import Golden, Row, load_golden, prefill

MAX_TOKENS = 24 if torch.cuda.is_available() else 14
MIXED = [
    SamplingParams(top_k=1),
    SamplingParams(seed=5, top_k=15, top_p=1.0, temperature=1.0, repetition_penalty=1.35),
    SamplingParams(seed=2**62 + 9, top_k=None, top_p=0.8, temperature=0.7),
    SamplingParams(seed=-3, top_k=5, top_p=0.95, temperature=1.3, repetition_penalty=0.9),
]


def row_of(golden: Golden, text: int) -> Row:
    """Return a recorded text; every second one has a prompt of more than a page."""
    return golden.row(text, golden.prompt.repeat(1 + 4 * (text % 2)))


def prefilled(golden: Golden, rows: list[Row], num_slots: int) -> tuple[PagedCache, Tensor]:
    """Return a cache with rows in its first slots, as the simple path fills them, and logits.

    Pages are dealt in turns, so that no slot's pages lie side by side, and others hold noise.
    """
    positions = golden.model.positions
    paged = PagedCache(
        golden.dims,
        num_slots=num_slots,
        num_tokens=4 * PAGE_TOKENS * num_slots,
        max_length=4 * PAGE_TOKENS,
        device=positions.device,
        dtype=positions.dtype,
    )
    for index in range(golden.dims.num_layers):
        paged.layer(index).fill_(torch.nan)
    slots = [paged.allocate() for _ in rows]
    for length in range(PAGE_TOKENS, 4 * PAGE_TOKENS + 1, PAGE_TOKENS):
        for row, slot in zip(rows, slots, strict=True):
            if length < row.num_tokens + MAX_TOKENS + PAGE_TOKENS:
                paged.grow(slot, length)
    paged.upload()
    logits = []
    for row, slot in zip(rows, slots, strict=True):
        cache = golden.new_cache(1)
        logits.append(prefill(golden.model, cache, [row], [cache.allocate()]))
        addresses = torch.from_numpy(paged.addresses(slot, row.num_tokens)).to(positions.device)
        for index in range(golden.dims.num_layers):
            values = cache.layer(index)[0, :, :, : row.num_tokens]
            paged.layer(index)[:, :, addresses.long()] = values
    return paged, torch.cat(logits)


def run(
    golden: Golden, texts: list[int], params: list[SamplingParams], num_slots: int
) -> list[list[int]]:
    """Return the tokens of some recorded texts decoded together."""
    device = golden.model.positions.device
    table = RowTable(num_slots, golden.dims.vocab_size, device)
    rows = [row_of(golden, text) for text in texts]
    paged, logits = prefilled(golden, rows, num_slots)
    decoder = GraphDecoder(golden.model, paged, table, num_slots=num_slots)
    slots = list(range(len(rows)))
    table.admit(
        [
            NewRow(
                slot,
                row.num_tokens,
                row.prompt.to(logits.device),
                params[place],
                segment=text,
                min_tokens=11,
                max_tokens=MAX_TOKENS,
            )
            for place, (row, slot, text) in enumerate(zip(rows, slots, texts, strict=True))
        ]
    )
    tokens: list[list[int]] = [[] for _ in rows]
    ended: set[int] = set()

    def take(drawn: Tensor) -> None:
        for place, value in enumerate(drawn.tolist()[: len(rows)]):
            assert bool(value & IS_VALID) == (place not in ended)
            assert not value & IS_NOT_FINITE
            if value & IS_EOS:
                ended.add(place)
            elif value & IS_VALID:
                tokens[place].append(value & 0xFFFF)
                if len(tokens[place]) == MAX_TOKENS:
                    ended.add(place)

    take(table.draw_first(logits, len(rows)))
    while len(ended) < len(rows):
        for drawn in decoder.decode(slots):
            take(drawn)
    return tokens


@pytest.mark.parametrize("name", ["t2s_v65", "t2s_v1025"])
def test_tokens_are_the_simple_paths(name: str, device: str) -> None:
    """Greedy and drawn tokens are those of the simple path, for every recorded text."""
    golden = load_golden(name, device)
    texts = list(range(len(golden.rows)))[:4]
    params = [MIXED[index % len(MIXED)] for index in texts]

    got = run(golden, texts, params, num_slots=5)

    for place, text in enumerate(texts):
        cache = golden.new_cache(1)
        state = SamplingState(1, golden.dims.vocab_size, device)
        slot = cache.allocate()
        row = row_of(golden, text)
        state.set_row(slot, params[place], segment=text, seen=row.prompt)
        logits = prefill(golden.model, cache, [row], [slot])
        expected: list[int] = []
        while len(expected) < MAX_TOKENS:
            result = sample(logits, state, torch.tensor([slot]), torch.tensor([len(expected)]))
            if result.is_eos.item():
                break
            expected.append(int(result.tokens.item()))
            position = torch.tensor([len(row.prompt) + len(expected) - 1])
            logits = golden.model.decode(result.tokens, position, [slot], cache)
        assert got[place] == expected


def test_a_row_alone_has_the_same_tokens_and_logits(device: str) -> None:
    """A row's tokens do not depend on who else is in the batch, nor on its slot."""
    golden = load_golden("t2s_v65", device)
    texts = [0, 1, 0]
    params = MIXED[1:4]

    together = run(golden, texts, params, num_slots=17)

    for place, text in enumerate(texts):
        assert run(golden, [text], [params[place]], num_slots=1) == [together[place]]


@pytest.mark.parametrize("vocab", [33, 1025])
def test_the_draw_is_the_reference(vocab: int, device: str) -> None:
    """For random logits, parameters and positions, the kernel draws what ``sample`` draws."""
    random = torch.Generator().manual_seed(vocab)
    num_rows = 24
    logits = torch.randn(num_rows, vocab, generator=random) * 3
    logits[:, 5] = logits[:, 7]  # ties
    logits[3] = logits[3].round()  # many ties
    params = [
        SamplingParams(
            seed=1000 + row,
            top_k=[None, 1, 3, 15, vocab][row % 5],
            top_p=[1.0, 0.001, 0.5, 0.9][row % 4],
            temperature=[0.0, 0.6, 1.0, 1.7][row % 4],
            repetition_penalty=[1.0, 1.35, 0.8][row % 3],
        )
        for row in range(num_rows)
    ]
    state = SamplingState(num_rows, vocab, device)
    table = RowTable(num_rows, vocab, torch.device(device))
    prompts = [torch.randint(vocab - 1, (row,), generator=random) for row in range(num_rows)]
    for slot, row in enumerate(params):
        state.set_row(slot, row, segment=slot, seen=prompts[slot])
    table.admit(
        [
            NewRow(slot, 1, prompts[slot].to(device), row, slot, min_tokens=11, max_tokens=99)
            for slot, row in enumerate(params)
        ]
    )
    for position in (0, 5, 10, 11, 13):
        scores = (logits + 0.1 * torch.randn(logits.shape, generator=random)).to(device)
        places = torch.full((num_rows,), position)
        expected = sample(scores, state, torch.arange(num_rows), places)
        table.fields[:, SlotField.GENERATED] = position
        table.fields[:, SlotField.ACTIVE] = 1

        drawn = table.draw_first(scores, num_rows)

        assert (drawn & 0xFFFF).tolist() == expected.tokens.tolist()
        assert ((drawn & IS_EOS) != 0).tolist() == expected.is_eos.tolist()


def test_logits_that_are_not_finite_end_their_row_alone(device: str) -> None:
    """NaN or infinity in one row is told and ends it; the other goes on."""
    table = RowTable(3, 33, torch.device(device))
    prompt = torch.tensor([1], device=device)
    table.admit(
        [
            NewRow(slot, 1, prompt, SamplingParams(), 0, min_tokens=11, max_tokens=99)
            for slot in (0, 1, 2)
        ]
    )
    logits = torch.randn(3, 33, device=device)
    logits[0, 4], logits[2, 8] = float("nan"), float("inf")

    drawn = table.draw_first(logits, 3)

    assert ((drawn & IS_NOT_FINITE) != 0).tolist() == [True, False, True]
    assert table.fields[:, SlotField.ACTIVE].tolist() == [0, 1, 0]


def test_which_models_it_takes() -> None:
    """The published dimensions are taken, odd ones are not."""
    assert can_decode(T2SDims(512, 16, 24, 1025, 732, 54))
    assert not can_decode(T2SDims(384, 16, 24, 1025, 732, 54))
    assert not can_decode(T2SDims(16, 1, 2, 1025, 732, 54))
