"""A pickle read as data: a machine for its opcodes that has nothing it could call.

Python's own unpickler imports what a pickle names and calls it. This one never imports. A name is a word; where the
pickle calls it, a rule of ours makes something inert from the arguments, and a name without a rule is refused. Work and
memory are bounded by the size of the file: every opcode makes one small object at most, strings and bytes are read from
the file once, and whatever may make more out of less (a call that copies what it is given) is paid from a `Budget`.
"""

import pickletools
import struct
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from mmap import mmap
from typing import IO, Any, cast

from orthogen.checkpoints._pickle_parts import Budget, Built, Name, Refused, Rules, shown

__all__ = ["Source", "run_pickle"]

Source = BytesIO | mmap  # their reads set no more memory aside than there is to read
_KEYS = (str, int, float, bytes, type(None))


class _Machine:
    """The stack, the marks on it, and the memo. Opcodes are methods, found by their names in `pickletools`."""

    def __init__(self, rules: Rules, budget: Budget, persistent: Callable[[Any], Any] | None) -> None:
        self.rules, self.budget, self.persistent = rules, budget, persistent
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # what lies below each mark
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, arg: Any) -> None:
        self.budget.step()
        if opcode in _PUSHES_ITS_ARGUMENT:
            self.stack.append(arg)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode in _TUPLES:
            n = _TUPLES[opcode]
            self._need(n)
            self.stack[-n:] = [tuple(self.stack[-n:])]
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[arg] = self.stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[arg])
        elif (method := getattr(self, f"do_{opcode.lower()}", None)) is not None:
            method(arg)
        else:
            raise Refused(f"uses the opcode {opcode}, which no checkpoint needs")

    def _need(self, n: int) -> None:
        if len(self.stack) < n:
            raise IndexError("stack is empty")

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _top(self, kind: type[Any], what: str) -> Any:
        top = self.stack[-1]
        if type(top) is not kind:
            raise Refused(f"{what} a {type(top).__name__}")
        return top

    def _name(self, text: str) -> None:
        if text not in self.rules:
            raise Refused(f"names {shown(text)}, which is not among what such a file needs (nothing in it was run)")
        self.stack.append(Name(text))

    def _put(self, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise Refused("gives a dictionary a key without a value")
        target = self._top(dict, "sets items of")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise Refused(f"has a {type(key).__name__} as a key")
            target[key] = value

    def do_proto(self, arg: int) -> None:
        if arg > 5:
            raise Refused(f"is a pickle of protocol {arg}; 0 to 5 are known")

    def do_frame(self, arg: int) -> None:
        pass

    def do_memoize(self, arg: None) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_mark(self, arg: None) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def do_pop(self, arg: None) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def do_pop_mark(self, arg: None) -> None:
        self._since_mark()

    def do_dup(self, arg: None) -> None:
        self.stack.append(self.stack[-1])

    def do_tuple(self, arg: None) -> None:
        items = self._since_mark()
        self.stack.append(tuple(items))

    def do_list(self, arg: None) -> None:
        items = self._since_mark()
        self.stack.append(items)

    def do_dict(self, arg: None) -> None:
        pairs = self._since_mark()
        self.stack.append({})
        self._put(pairs)

    def do_append(self, arg: None) -> None:
        item = self.stack.pop()
        self._top(list, "appends to").append(item)

    def do_appends(self, arg: None) -> None:
        items = self._since_mark()
        self._top(list, "appends to").extend(items)

    def do_setitem(self, arg: None) -> None:
        self._need(3)
        pair = self.stack[-2:]
        del self.stack[-2:]
        self._put(pair)

    def do_setitems(self, arg: None) -> None:
        self._put(self._since_mark())

    def do_additems(self, arg: None) -> None:
        items = self._since_mark()
        self._top(list, "adds to").extend(items)  # sets are read as lists: nothing here needs them

    def do_global(self, arg: str) -> None:
        self._name(arg.replace(" ", ".", 1))

    def do_stack_global(self, arg: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(f"{module}.{name}" if isinstance(name, str) and isinstance(module, str) else "?")

    def do_inst(self, arg: str) -> None:
        self._name(arg.replace(" ", ".", 1))
        raise Refused(f"uses the opcode INST for {shown(arg)}, which no checkpoint needs")

    def do_reduce(self, arg: None) -> None:
        args, named = self.stack.pop(), self.stack.pop()
        if not isinstance(named, Name):
            raise Refused(f"calls a {type(named).__name__}")
        rule = self.rules[named.text]
        if rule is None or not isinstance(args, tuple):
            raise Refused(f"calls {named.text} as no checkpoint does")
        try:
            self.stack.append(rule(*args))
        except TypeError as error:
            raise Refused(f"calls {named.text} with other arguments than it takes") from error

    do_newobj = do_reduce

    def do_build(self, arg: None) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if isinstance(built, Built):
            built.build(state)
        elif type(built) is not dict:  # attributes of a dictionary (a state dict's versions) are left out
            raise Refused(f"sets the state of a {type(built).__name__}")

    def do_persid(self, arg: Any) -> None:
        if self.persistent is None:
            raise Refused("refers to an object outside of itself (a persistent id)")
        self.stack.append(self.persistent(arg))

    def do_binpersid(self, arg: None) -> None:
        self.do_persid(self.stack.pop())


_PUSHES_ITS_ARGUMENT = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def run_pickle(file: Source, rules: Rules, budget: Budget, persistent: Callable[[Any], Any] | None = None) -> Any:
    """The object in the next pickle of ``file``, made by ``rules`` alone; reading stops behind its end.

    Args:
        file: ``io.BytesIO`` or ``mmap``: asked for more than there is, their reads set no memory aside for it.
        rules: what may be named, and what its calls make.
        budget: what the file may still cost.
        persistent: what a persistent id stands for; None where there must be none.

    Raises:
        Refused: it is cut short, or needs something else.

    Example:
        >>> import io, pickle
        >>> run_pickle(io.BytesIO(pickle.dumps({"a": (1, 2.0)})), {}, Budget(100))
        {'a': (1, 2.0)}
        >>> run_pickle(io.BytesIO(pickle.dumps(print)), {}, Budget(100))
        Traceback (most recent call last):
        orthogen...Refused: names 'builtins.print', which is not among what such a file needs (nothing in it was run)
    """
    machine = _Machine(rules, budget, persistent)
    position: int | None = 0  # of the opcode before the fault
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in the strings of protocol 0
            for opcode, arg, at in pickletools.genops(cast(IO[bytes], file)):
                position = at
                if opcode.name == "STOP":
                    return machine.stack.pop()
                machine.step(opcode.name, arg)
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, OverflowError, struct.error) as error:
        raise Refused(f"is damaged or cut short (in a pickle, behind byte {position})") from error
    raise AssertionError("genops ends at STOP, or raises")
