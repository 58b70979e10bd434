"""What a space forbids, and what of it can be trained."""

import pytest
from helpers.spaces import DEEP

from emgmodels.config import Config
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from search.space import Sessions, SpaceError


def test_constraints_hold_and_say_what_they_forbid(space_of):
    space = space_of(DEEP, overrides=["constraints.max_parameters=3_000_000"])
    small = Config(model=parse_notation("gru:1(hidden=128) @4ch"))
    large = Config(model=parse_notation("transformer:4 conv:8 @16ch"))
    assert space.violation(small) is None
    assert "more than max_parameters 3,000,000" in space.violation(large)


def test_look_ahead_and_operations_are_limited(space_of):
    space = space_of("constraints: {max_lookahead_ms: 500, max_macs: 1e9}")
    assert "ms of look-ahead" in space.violation(Config(model=parse_notation("gru:1 @16ch")))
    forward = Config(model=parse_notation("gru:1(bidirectional=false) @16ch"))
    assert space.violation(forward) is None
    heavy = Config(model=parse_notation("gru:4(bidirectional=false,hidden=2048) @16ch"))
    assert "multiply-accumulates" in space.violation(heavy)


def test_context_is_limited_by_what_is_there(space_of):
    space = space_of("constraints: {max_context_ms: 900}")
    assert "ms of context" in space.violation(Config(model=parse_notation("conv:4 @16ch")))
    assert space.violation(Config(model=parse_notation("conv:3 @16ch"))) is None
    assert space.within(lasting(5000)).constraints.max_context_ms == 900
    short = space.within(lasting(700))
    assert "more than max_context_ms 700" in short.violation(
        Config(model=parse_notation("conv:3 @16ch"))
    )
    assert space_of("{}").within(lasting(700)).constraints == short.constraints


def lasting(milliseconds, frames=0):
    return Sessions(shortest_ms=milliseconds, longest_ms=milliseconds, frames=frames)


def test_windows_reach_and_frames_are_limited_by_the_sessions(space_of):
    space = space_of("{}").within(lasting(9000, frames=50))

    def objection(architecture, **training):
        config = {"model": parse_notation(architecture).model_dump(), "training": training}
        return space.violation(Config.model_validate(config))

    assert objection("gru:1", window_seconds=9) is None
    assert "windows of 16000 ms, and the longest training" in objection("gru:1", window_seconds=16)
    assert "9,000 ms: take fewer layers" in objection("conv1d:1(kernel=5001) hop:16")
    assert "40 frames for a window of 4 s, and one window in twenty has keys for 50" in objection(
        "lstm:1 hop:200"
    )
    pretrained = "conv:1 pretrained:2(weights=random)"
    assert objection(pretrained) is None
    assert "takes 8,4" in objection(pretrained, window_seconds=8)


def test_no_listed_architecture_is_left_out_without_a_word(space_of):
    with pytest.raises(
        SpaceError, match=r"model.*1.*nothing with it can be built.*frames a second"
    ):
        space_of(
            "{model: {choice: ['conv:4', {encoder: {order: [conv1d],"
            " conv1d: {layers: 4, stride: 4}}}]}, search: {sampler: grid}}"
        ).check()
    with pytest.raises(SpaceError, match=r"heads.*7.*width 256 does not divide into 7 heads: take"):
        space_of(
            "model: {encoder: {order: [transformer], transformer: {width: {choice: [256, 512]},"
            " heads: {choice: [4, 7]}}}}"
        ).check()
    some = space_of(
        "model: {encoder: {order: [transformer], transformer: {width: {choice: [256, 384]},"
        " heads: {choice: [4, 6]}}}}"
    ).check()
    assert some.warning.startswith("3 of 4 sampled configurations can be trained; 1 of the others")


def test_pretrained_stages_are_found_wherever_the_space_allows_them(space_of):
    space = space_of(
        "model: {choice: ['conv:1', 'conv:1 pretrained:2', 'pretrained:2(name=other)',"
        " 'pretrained:2(name=third,weights=random)']}"
    )
    assert sorted(stage.name for stage in space.pretrained()) == ["gpt2", "other"]


def test_check_counts_what_can_be_trained(space_of):
    space = space_of(
        "{model: {mlp_features: {int: [16, 400], step: 16}},"
        " constraints: {max_parameters: 1_000_000}}"
    )
    found = space.check()
    assert found.samples == space.size == 25
    assert found.feasible == sum(space.violation(config) is None for config in space.grid()) > 1
    [reason] = found.reasons
    assert "max_parameters" in reason
    assert found.warning.startswith(f"{found.feasible} of 25 sampled configurations can be trained")


def test_a_space_that_can_hardly_be_satisfied_says_so(space_of):
    sizes = "{int: [16, 1000], step: 8}"
    smallest = describe(Config.model_validate({"model": {"mlp_features": 24}}).model).parameters
    space = space_of(
        f"{{model: {{mlp_features: {sizes}}}, constraints: {{max_parameters: {smallest}}}}}"
    )
    assert space.check().warning.startswith("only 2 of 124 sampled configurations can be trained")


def test_a_space_in_which_nothing_can_be_trained_is_refused(space_of):
    space = space_of(DEEP, overrides=["constraints.max_parameters=1000"])
    with pytest.raises(SpaceError, match=r"nothing in this space can be trained.*max_parameters"):
        space.check(samples=20)


def test_a_single_architecture_that_cannot_be_trained_is_refused_with_its_reason_alone(space_of):
    space = space_of("{model: {encoder: {order: [conv]}}, constraints: {max_parameters: 1000}}")
    said = r"can be trained: [\d,]+ parameters, more than max_parameters 1,000$"
    with pytest.raises(SpaceError, match=said):
        space.check(samples=20)


def test_a_start_point_that_breaks_a_constraint_is_refused(space_of):
    space = space_of(
        DEEP,
        overrides=["constraints.max_parameters=4_000_000", "search.start_with=['conv:8 @16ch']"],
    )
    with pytest.raises(SpaceError, match=r"search\.start_with\[0\]: .*max_parameters"):
        space.check(samples=20)


def test_start_points_of_a_file_that_overrides_leave_no_room_for_are_left_out(space_of):
    text = """
        model:
          electrodes: {choice: [8, 16]}
          encoder: {order: [conv], conv: {layers: {int: [1, 8]}}}
        search: {start_with: ["conv:1 @8ch", "conv:2 @16ch", "conv:8 @16ch"]}
    """
    assert len(space_of(text, overrides=["search.trials=8"]).search.start_with) == 3
    narrow = space_of(text, overrides=["model.electrodes=16"])
    assert narrow.search.start_with == ("conv:2 @16ch", "conv:8 @16ch")
    small = space_of(text, overrides=["constraints.max_parameters=4_000_000"])
    assert small.search.start_with == ("conv:1 @8ch", "conv:2 @16ch")
    small.check(samples=20)
