"""A deck is a model: what the drop-in endpoints list, and who answers when a model is named.

A deck is found by its id, a character by hers or as `deck/character`. Any other name is that of an
upstream's model, whose recorded replies the deck `recorded` has.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

import orjson

from app.errors import PromptMissError, RequestError
from app.kinds.cards.plays import GAME, HAND, Play, written_play
from app.kinds.cards.service import ServedCards
from app.kinds.chat.characters import Character
from app.kinds.chat.service import MAX_MESSAGE, MAX_MESSAGES, ServedChat
from app.kinds.chat.turn import Turn
from app.kinds.ladder import Delta, Discard
from app.kinds.prompts.deck import RECORDED
from app.kinds.prompts.dialects.ollama import bare_name
from app.kinds.prompts.dialects.wire import bad_field
from app.kinds.prompts.reply import About, Asked, Choice, Chunk, PromptAnswer, Reply, Tokens
from app.kinds.prompts.request import Message, PromptRequest
from app.kinds.prompts.service import ServedPrompts
from app.providers.tokens import estimate_tokens
from app.web.service import Service


class ListedModel(Protocol):
    """What answers under a name. `about` says in a few words what it is.

    `chats` is whether it counts as a chat, of which TSUKURIOKI_CHAT_RATE limits how many messages a
    client may send.
    """

    about: str
    chats: bool

    @property
    def replays(self) -> ServedPrompts | None:
        """The deck whose recorded replies these are, if they are."""

    def answer(self, asked: Asked) -> PromptAnswer:
        """The answer to a request. Raises RequestError."""


class CharacterModel:
    """A character of a chat deck: the request's messages are the conversation.

    The client's system text and tools are left aside: she is who she is. `pace` is the characters
    that are streamed in a second, 0 for all at once.
    """

    chats = True
    replays = None

    def __init__(
        self,
        served: ServedChat,
        character: Character,
        pace: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._served = served
        self._character = character
        self._pace = pace
        self._sleep = sleep
        self.about = f"{character.name}, a character of the deck {served.deck.id}"

    def answer(self, asked: Asked) -> PromptAnswer:
        """Her answer. A message of the request counts as said by the user if its role is `user`."""
        served = self._served
        turn = served.with_care(self._turn(asked))
        asked.waits()
        chunks: list[str] = []
        for event in served.answer(turn):
            if isinstance(event, Delta):
                chunks.append(event.text)
            elif isinstance(event, Discard):
                # These protocols cannot take back what was sent, and a refused line must not be
                # read: chunks are held until the tier's whole answer has passed the gate.
                chunks.clear()
            else:
                reply = event
        key = turn.deck.message_query(turn.character, turn.text).key
        whole = _whole_reply(asked.request, [reply.text], reply.model)
        written = "".join(chunks) == reply.text
        pace = self._pace if asked.stream and not written else 0
        return PromptAnswer(
            About(reply.tier, key), self._events(whole, chunks if written else None, pace)
        )

    def _events(
        self, reply: Reply, chunks: list[str] | None, pace: int
    ) -> Generator[Chunk, None, Reply]:
        for number, chunk in enumerate(_chunks(reply, chunks)):
            if pace and number:
                self._sleep(len(chunk.text) / pace)
            yield chunk
        return reply

    def _turn(self, asked: Asked) -> Turn:
        request = asked.request
        if request.operation == "embed":
            raise _no_embedding(self.about)
        said = [message for message in request.messages if message.role in ("user", "assistant")]
        messages = tuple(
            {"role": message.role, "content": message.text[:MAX_MESSAGE]}
            for message in said[-MAX_MESSAGES:]
            if message.text.strip()
        )
        if not messages or said[-1].role != "user" or not said[-1].text.strip():
            raise bad_field("messages", "a conversation that ends with the user's text")
        if len(said[-1].text) > MAX_MESSAGE:
            raise bad_field("messages", f"texts of at most {MAX_MESSAGE} characters")
        conversation = asked.conversation or secrets.token_hex(8)
        return self._served.turn(self._character, messages, conversation)


def _chunks(reply: Reply, texts: list[str] | None) -> Iterator[Chunk]:
    if texts is None:
        return reply.chunks()
    return (Chunk(0, text) for text in texts if text)


def _no_embedding(about: str) -> RequestError:
    return RequestError(400, "No embeddings", f"this model makes no embeddings: it is {about}")


def _whole_reply(request: PromptRequest, texts: list[str], model: str) -> Reply:
    asked = sum(estimate_tokens(message.text) for message in request.messages)
    written = sum(map(estimate_tokens, texts))
    return Reply(tuple(map(Choice, texts)), model, Tokens(asked, written))


class CardsModel:
    """A deck of cards: the last message is a play as JSON, or the prompt that the game makes of it.

    The answer's text is the JSON of title and poem, as the game expects it of a model.
    """

    chats = False
    replays = None

    def __init__(self, served: ServedCards) -> None:
        self._served = served
        self.about = f"the deck of cards {served.deck.name}"

    def answer(self, asked: Asked) -> PromptAnswer:
        """The answer to the play, and its next variants if several choices are asked for."""
        if asked.request.operation == "embed":
            raise _no_embedding(self.about)
        play = self.play(asked.request.messages)
        asked.waits()
        choices = asked.request.options.get("n", 1)
        answers = [self._served.answer(play.query, play.variant + n) for n in range(choices)]
        bodies = [orjson.loads(answer.body) for answer in answers]
        objects = ({"title": one["title"], "poem": one["poem"]} for one in bodies)
        texts = [orjson.dumps(one).decode() for one in objects]
        reply = _whole_reply(asked.request, texts, bodies[0]["model"])
        return PromptAnswer(About(answers[0].tier, bodies[0]["key"]), _at_once(reply), ready=True)

    def play(self, messages: tuple[Message, ...]) -> Play:
        """The play that is asked for. Raises RequestError (400)."""
        last = next((m.text for m in reversed(messages) if m.role == "user" and m.text), "")
        deck = self._served.deck
        try:
            value = orjson.loads(last)
        except orjson.JSONDecodeError:
            value = None
        if isinstance(value, dict) and (GAME.member in value or HAND.member in value):
            return (GAME if GAME.member in value else HAND).read(deck, value)
        try:
            return Play(written_play(deck, last))
        except RequestError:
            # A game may put the pairs into the system text.
            return Play(written_play(deck, "\n".join(message.text for message in messages)))


def _at_once(reply: Reply) -> Generator[Chunk, None, Reply]:
    yield from reply.chunks()
    return reply


class PromptsModel:
    """A deck of prompts: what is recorded for the request."""

    chats = False

    def __init__(self, served: ServedPrompts) -> None:
        self.replays = self._served = served
        self.about = f"the deck of prompts {served.deck.name}"

    def answer(self, asked: Asked) -> PromptAnswer:
        """What is recorded, or just was. Raises PromptMissError and UpstreamError."""
        return self._served.answer(asked)

    def models(self) -> list[str]:
        """The names of the models that are recorded."""
        return self._served.models()


class Models:
    """The models of a server."""

    def __init__(self, service: Service) -> None:
        self._own = dict(_own(service))
        # Its own name is no model's: those that are recorded in it are.
        self._own.pop(RECORDED, None)
        self._recorded = PromptsModel(service.prompts[RECORDED])
        self._game = service.cards.get(service.settings.deck)

    def listed(self) -> dict[str, str]:
        """What each model is, by name."""
        recorded = self._recorded.models()
        upstream = dict.fromkeys(recorded, "a model of an upstream, as far as it is recorded")
        return upstream | {name: model.about for name, model in self._own.items()}

    def find(self, name: str) -> ListedModel:
        """What answers under a name."""
        return self._own.get(bare_name(name), self._recorded)

    def answer(self, model: ListedModel, asked: Asked) -> PromptAnswer:
        """A model's answer. Raises RequestError.

        The game's own development server asks a model of any name by its prompt: if nothing is
        recorded for a prompt with a whole play of the game's deck, that deck answers.
        """
        try:
            return model.answer(asked)
        except PromptMissError:
            game = self._play_of_game(asked.request)
            if game is None:
                raise
            return game.answer(asked)

    def _play_of_game(self, request: PromptRequest) -> CardsModel | None:
        if self._game is None or request.operation == "embed":
            return None
        game = CardsModel(self._game)
        try:
            game.play(request.messages)
        except RequestError:
            return None
        return game


def _own(service: Service) -> Iterator[tuple[str, ListedModel]]:
    """The decks and characters by name; of two with one name, the later counts."""
    pace = service.settings.chat_pace
    for deck, prompts in service.prompts.items():
        for name in (*prompts.deck.models, deck):
            yield name, PromptsModel(prompts)
    # The chat's own deck last, so that its characters have their plain names.
    chats = dict(reversed(service.chats.items()))
    if chats:
        usual = service.chat(None).deck.id
        chats = {**chats, usual: chats.pop(usual)}
    for deck, served in chats.items():
        for character in served.deck.characters:
            model = CharacterModel(served, character, pace)
            yield character.id, model
            yield f"{deck}/{character.id}", model
    for deck, served in chats.items():
        yield deck, CharacterModel(served, served.deck.characters[0], pace)
    for deck, cards in service.cards.items():
        yield deck, CardsModel(cards)
