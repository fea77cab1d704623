import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsl.errors import ConfigError
from wsl.run.shard import Shard


@given(st.integers(1, 20), st.integers(0, 100), st.integers(1, 30))
def test_shards_cover_all_chunks_once(count, images, size):
    shards = [Shard(index, count).chunk_sizes(images, size) for index in range(count)]
    assert sorted(chunk for shard in shards for chunk in shard) == list(range(-(-images // size)))
    assert sum(sum(shard.values()) for shard in shards) == images
    whole = Shard().chunk_sizes(images, size)
    assert list(whole.values())[:-1] == [size] * (len(whole) - 1)


def test_a_shard_is_read_as_it_is_written():
    assert Shard.parse(" 3/16 ") == Shard(3, 16)
    assert str(Shard(3, 16)) == "3/16"


@pytest.mark.parametrize("text", ["", "3", "1/0", "4/4", "-1/4", "1/4/2", "a/b", "1 / 4", "¹/4"])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="a shard must be i/n"):
        Shard.parse(text)
