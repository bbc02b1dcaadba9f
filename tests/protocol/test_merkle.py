"""Merkle trees of RFC 6962, against pymerkle and against themselves."""

import hashlib

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RejectionCode
from protocol.merkle import (
    EMPTY_ROOT,
    MerkleProofError,
    MerkleTree,
    leaf_hash,
    merkle_root,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.support import vectors
from tests.support.rfc6962 import CT_LEAVES, CT_ROOTS, subproof

leaf_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


@st.composite
def trees_and_positions(draw: st.DrawFn) -> tuple[list[bytes], int, int]:
    """Leaves, a size within them and a position within that size."""
    leaves = draw(leaf_lists)
    size = draw(st.integers(1, len(leaves)))
    return leaves, size, draw(st.integers(0, size - 1))


def oracle(leaves: list[bytes]) -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for data in leaves:
        tree.append_entry(data)
    return tree


def flipped(hashed: bytes, bit: int) -> bytes:
    number = int.from_bytes(hashed, "big") ^ (1 << bit)
    return number.to_bytes(len(hashed), "big")


def test_the_empty_tree_has_the_root_of_the_standard() -> None:
    assert MerkleTree().root() == EMPTY_ROOT
    # RFC 6962 section 2.1: MTH({}) = SHA-256().
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_leaves_and_nodes_live_in_domains_of_their_own() -> None:
    assert leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert (
        node_hash(b"L" * 32, b"R" * 32) == hashlib.sha256(b"\x01" + b"L" * 32 + b"R" * 32).digest()
    )


def test_roots_equal_those_of_certificate_transparency() -> None:
    tree = MerkleTree.of(bytes.fromhex(data) for data in CT_LEAVES)

    assert [tree.root(size).hex() for size in range(1, 9)] == CT_ROOTS


def test_roots_and_proofs_are_the_golden_ones() -> None:
    assert vectors.merkle_vector() == vectors.load("merkle")


def test_three_leaves_by_hand() -> None:
    a, b, c = (leaf_hash(data) for data in (b"a", b"b", b"c"))

    tree = MerkleTree.of([b"a", b"b", b"c"])

    assert tree.root() == node_hash(node_hash(a, b), c)
    assert tree.inclusion_proof(1) == (a, c)
    assert tree.inclusion_proof(2) == (node_hash(a, b),)
    assert tree.consistency_proof(2) == (c,)
    assert merkle_root([b"a", b"b", b"c"]) == tree.root().hex()


@given(leaf_lists)
def test_roots_equal_the_oracles_at_every_size(leaves: list[bytes]) -> None:
    ours, theirs = MerkleTree.of(leaves), oracle(leaves)

    for size in range(1, len(leaves) + 1):
        assert ours.root(size) == theirs.get_root(size)


@given(trees_and_positions())
def test_inclusion_proofs_equal_the_oracles(example: tuple[list[bytes], int, int]) -> None:
    leaves, size, index = example

    ours = MerkleTree.of(leaves).inclusion_proof(index, size)

    # Their path begins with the leaf's own hash, and they count from 1.
    assert [leaf_hash(leaves[index]), *ours] == oracle(leaves).prove_inclusion(index + 1, size).path


@given(trees_and_positions())
def test_consistency_proofs_equal_the_recursion_of_the_standard(
    example: tuple[list[bytes], int, int],
) -> None:
    leaves, size, index = example

    ours = MerkleTree.of(leaves).consistency_proof(index + 1, size)

    assert list(ours) == subproof(index + 1, leaves[:size], whole=True)


@given(trees_and_positions())
def test_the_oracles_consistency_proof_links_our_roots(
    example: tuple[list[bytes], int, int],
) -> None:
    leaves, size, index = example
    ours = MerkleTree.of(leaves)

    proof = oracle(leaves).prove_consistency(index + 1, size)

    pymerkle.verify_consistency(ours.root(index + 1), ours.root(size), proof)


@given(trees_and_positions())
def test_the_oracle_takes_a_proof_made_of_ours(example: tuple[list[bytes], int, int]) -> None:
    leaves, size, index = example
    tree = MerkleTree.of(leaves)
    layout = oracle(leaves).prove_inclusion(index + 1, size)

    proof = pymerkle.InclusionProof(
        algorithm="sha256",
        security=True,
        size=size,
        index=index + 1,
        rule=layout.rule,
        path=[leaf_hash(leaves[index]), *tree.inclusion_proof(index, size)],
    )

    pymerkle.verify_inclusion(leaf_hash(leaves[index]), tree.root(size), proof)


@given(trees_and_positions())
def test_every_inclusion_proof_verifies(example: tuple[list[bytes], int, int]) -> None:
    leaves, size, index = example
    tree = MerkleTree.of(leaves)

    verify_inclusion(
        leaf=leaf_hash(leaves[index]),
        index=index,
        size=size,
        proof=tree.inclusion_proof(index, size),
        root=tree.root(size),
    )


@given(trees_and_positions())
def test_every_consistency_proof_verifies(example: tuple[list[bytes], int, int]) -> None:
    leaves, size, index = example
    tree = MerkleTree.of(leaves)

    verify_consistency(
        old_size=index + 1,
        old_root=tree.root(index + 1),
        size=size,
        root=tree.root(size),
        proof=tree.consistency_proof(index + 1, size),
    )


@given(trees_and_positions(), st.data())
def test_an_inclusion_proof_fails_when_one_bit_is_flipped(
    example: tuple[list[bytes], int, int], data: st.DataObject
) -> None:
    leaves, size, index = example
    tree = MerkleTree.of(leaves)
    pieces = [leaf_hash(leaves[index]), tree.root(size), *tree.inclusion_proof(index, size)]
    victim = data.draw(st.integers(0, len(pieces) - 1))
    pieces[victim] = flipped(pieces[victim], data.draw(st.integers(0, 255)))

    with pytest.raises(MerkleProofError):
        verify_inclusion(leaf=pieces[0], index=index, size=size, proof=pieces[2:], root=pieces[1])


@given(trees_and_positions(), st.data())
def test_a_consistency_proof_fails_when_one_bit_is_flipped(
    example: tuple[list[bytes], int, int], data: st.DataObject
) -> None:
    leaves, size, index = example
    tree, old_size = MerkleTree.of(leaves), index + 1
    proof = tree.consistency_proof(old_size, size)
    pieces = [tree.root(old_size), tree.root(size), *proof]
    victim = data.draw(st.integers(0, len(pieces) - 1))
    pieces[victim] = flipped(pieces[victim], data.draw(st.integers(0, 255)))

    with pytest.raises(MerkleProofError):
        verify_consistency(
            old_size=old_size, old_root=pieces[0], size=size, root=pieces[1], proof=pieces[2:]
        )


@given(st.integers(2, 70), st.data())
def test_an_inclusion_proof_holds_for_one_position_only(size: int, data: st.DataObject) -> None:
    tree = MerkleTree.of(b"%d" % number for number in range(size))
    index, other = data.draw(
        st.lists(st.integers(0, size - 1), min_size=2, max_size=2, unique=True)
    )

    with pytest.raises(MerkleProofError):
        verify_inclusion(
            leaf=leaf_hash(b"%d" % index),
            index=other,
            size=size,
            proof=tree.inclusion_proof(index),
            root=tree.root(),
        )


@given(st.integers(2, 70), st.data())
def test_a_forked_log_has_no_proof_of_consistency(size: int, data: st.DataObject) -> None:
    changed = data.draw(st.integers(0, size - 1))
    old_size = data.draw(st.integers(changed + 1, size))
    honest = MerkleTree.of(b"%d" % number for number in range(size))
    forked = MerkleTree.of(
        b"forked" if number == changed else b"%d" % number for number in range(size)
    )

    with pytest.raises(MerkleProofError):
        verify_consistency(
            old_size=old_size,
            old_root=honest.root(old_size),
            size=size,
            root=forked.root(),
            proof=forked.consistency_proof(old_size),
        )


@given(trees_and_positions(), st.binary(min_size=32, max_size=32))
def test_proofs_with_one_hash_more_or_less_fail(
    example: tuple[list[bytes], int, int], surplus: bytes
) -> None:
    leaves, size, index = example
    tree = MerkleTree.of(leaves)
    proof = tree.inclusion_proof(index, size)

    for changed in ((*proof, surplus), (surplus, *proof), proof[1:], proof[:-1]):
        if changed == proof:
            continue
        with pytest.raises(MerkleProofError):
            verify_inclusion(
                leaf=leaf_hash(leaves[index]),
                index=index,
                size=size,
                proof=changed,
                root=tree.root(size),
            )


@given(trees_and_positions(), st.binary(min_size=32, max_size=32))
def test_consistency_proofs_with_one_hash_more_or_less_fail(
    example: tuple[list[bytes], int, int], surplus: bytes
) -> None:
    leaves, size, index = example
    tree, old_size = MerkleTree.of(leaves), index + 1
    proof = tree.consistency_proof(old_size, size)

    for changed in ((*proof, surplus), (surplus, *proof), proof[1:], proof[:-1]):
        if changed == proof:
            continue
        with pytest.raises(MerkleProofError):
            verify_consistency(
                old_size=old_size,
                old_root=tree.root(old_size),
                size=size,
                root=tree.root(size),
                proof=changed,
            )


def test_pieces_of_other_lengths_fail_even_when_they_join_to_the_same_bytes() -> None:
    tree = MerkleTree.of([b"a", b"b"])
    joined = leaf_hash(b"a") + leaf_hash(b"b")

    with pytest.raises(MerkleProofError, match="32 bytes"):
        verify_inclusion(leaf=joined[:31], index=0, size=2, proof=[joined[31:]], root=tree.root())


@pytest.mark.parametrize(("index", "size"), [(-1, 2), (2, 2), (0, 0), (5, 2)])
def test_a_leaf_outside_the_tree_is_no_member(index: int, size: int) -> None:
    with pytest.raises(MerkleProofError, match="not in a tree"):
        verify_inclusion(leaf=leaf_hash(b"a"), index=index, size=size, proof=(), root=EMPTY_ROOT)


def test_the_empty_log_is_a_prefix_of_every_log() -> None:
    tree = MerkleTree.of([b"a", b"b"])

    verify_consistency(old_size=0, old_root=EMPTY_ROOT, size=2, root=tree.root(), proof=())


def test_an_empty_log_with_a_root_of_its_own_is_refused() -> None:
    tree = MerkleTree.of([b"a", b"b"])

    with pytest.raises(MerkleProofError):
        verify_consistency(old_size=0, old_root=b"\x01" * 32, size=2, root=tree.root(), proof=())


@pytest.mark.parametrize("old_size", [-1, 3])
def test_a_log_that_shrank_is_refused(old_size: int) -> None:
    tree = MerkleTree.of([b"a", b"b"])

    with pytest.raises(MerkleProofError, match="shrunk"):
        verify_consistency(
            old_size=old_size, old_root=EMPTY_ROOT, size=2, root=tree.root(), proof=()
        )


def test_a_proof_of_consistency_that_is_missing_is_too_short() -> None:
    tree = MerkleTree.of([b"a", b"b", b"c", b"d"])

    with pytest.raises(MerkleProofError, match="too short"):
        verify_consistency(old_size=3, old_root=tree.root(3), size=4, root=tree.root(), proof=())


def test_equal_sizes_with_different_roots_are_a_fork() -> None:
    with pytest.raises(MerkleProofError):
        verify_consistency(
            old_size=1, old_root=leaf_hash(b"a"), size=1, root=leaf_hash(b"b"), proof=()
        )


def test_a_failed_proof_is_a_rejection() -> None:
    fault = MerkleProofError("no proof")

    assert fault.rejection.code is RejectionCode.COMMITMENT_MISMATCH


@pytest.mark.parametrize("size", [-1, 3])
def test_a_tree_knows_no_other_sizes_than_its_own(size: int) -> None:
    tree = MerkleTree.of([b"a", b"b"])

    with pytest.raises(ValueError, match="2 leaves"):
        tree.root(size)
    with pytest.raises(ValueError, match="2 leaves"):
        tree.inclusion_proof(0, size)
    with pytest.raises(ValueError, match="2 leaves"):
        tree.consistency_proof(1, size)


def test_a_tree_proves_nothing_that_it_does_not_hold() -> None:
    tree = MerkleTree.of([b"a", b"b"])

    with pytest.raises(ValueError, match="not in a tree"):
        tree.inclusion_proof(2)
    with pytest.raises(ValueError, match="no consistency proof"):
        tree.consistency_proof(0)


def test_appending_gives_the_tree_that_was_built_at_once() -> None:
    grown = MerkleTree()
    for number in range(100):
        grown.append(b"%d" % number)

    built = MerkleTree(leaf_hash(b"%d" % number) for number in range(100))

    assert len(grown) == len(built) == 100
    assert grown.root() == built.root()
