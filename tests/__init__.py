"""The tests of supple: a mirror of src, and laws, contracts and reliability beside it."""
