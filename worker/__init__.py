"""How email is delivered: the worker that takes jobs in, paces them and sends them."""
