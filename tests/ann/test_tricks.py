from tests.ann.process import python


def test_an_unknown_trick_is_refused_with_those_known():
    failed = python("import ann.kernels.tricks", check=False, ANN_WITHOUT="magic")
    result = failed.stderr
    assert "ANN_WITHOUT must name tricks among ['" in result
    assert "got ['magic']" in result


def test_each_choice_has_a_cache_of_its_own():
    code = "from ann.kernels import _jit; print(_jit.cache_folder().name)"
    with_all, without = python(code), python(code, ANN_WITHOUT="prefetch")
    assert without == with_all + "-no-prefetch"
