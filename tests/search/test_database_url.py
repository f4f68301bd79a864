"""Tests of the passwords in URLs of databases, which are not shown."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr

from skreg import OptunaSearchCV
from skreg.search.database_url import DatabaseURL, hide_password

URLS = {
    "postgresql://me:secret@host/study": "postgresql://me:***@host/study",
    "postgresql+psycopg://me:sec@re/t:x@host:5432/study": "postgresql+psycopg://me:***@host:5432/study",
    "postgresql://:secret@host/study": "postgresql://:***@host/study",
    "postgresql://me@corporation:secret@host/study": "postgresql://me@corporation:***@host/study",
    "postgresql://me:/secret@host/study": "postgresql://me:***@host/study",
    "postgresql://me:my secret@host/study": "postgresql://me:***@host/study",
    "postgresql:/me:secret@host/study": "postgresql:***@host/study",
    "postgresql://host/study?user=me&password=secret&x=1": "postgresql://host/study?user=me&password=***&x=1",
    "mysql://me:secret@host/study?passwd=secret": "mysql://me:***@host/study?passwd=***",
    "me:secret@host/study": "me:***@host/study",
    "me:my:secret@host/study": "me:***@host/study",
    "m:secret@host/study": "m:***@host/study",
    "me:/secret@host/study": "me:***@host/study",
    "postgresql:me:secret@host/study": "postgresql:***@host/study",
    "postgresql: //me:secret@host/study": "postgresql:***@host/study",
    "postgresql//me:secret@host/study": "postgresql//me:***@host/study",
    "postgresql;//me:secret@host/study": "postgresql;//me:***@host/study",
    "//me:secret@host/study": "//me:***@host/study",
    "/me:secret@host/study": "/me:***@host/study",
    "url=postgresql://me:secret@host/study": "url=postgresql://me:***@host/study",
    "url: postgresql://me:secret@host/study": "url:***@host/study",
    "journal:/postgresql://me:secret@host/study": "journal:***@host/study",
    "C:/me:secret@host/study": "C:***@host/study",
    "sqlite:////data/me:secret@host/search.db": "sqlite:////data/me:***@host/search.db",
}
FRAMES = [
    *("{}", " {}", "\t{}", "\n{}", "{} ", "'{}'", '"{}"', "<{}>", "({})", "['{}']", "psql {}", "$({})", "{}, {}"),
]
"""Texts in which a URL can be passed by mistake."""
SHOWN = [
    "search.db",
    "C:\\data\\search.db",
    "sqlite:////data/search.db",
    "C:/data/me@host/search.db",
    "C:\\data\\me@host\\search.db",
    "sqlite:////data/me@host/search.db",
    "postgresql://me@host:5432/study",
    "journal:/data/study@host",
]


@pytest.mark.parametrize("url", URLS)
def test_the_password_of_a_url_is_hidden(url):
    assert hide_password(url) == URLS[url]
    assert hide_password(repr(url)) == repr(URLS[url]) == repr(DatabaseURL(url))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("url", URLS)
def test_the_password_of_a_url_in_another_text_is_hidden(url, frame):
    text = frame.format(url, url)
    for shown in (hide_password(text), hide_password(repr(text)), hide_password(repr([text])), repr(DatabaseURL(text))):
        assert "secret" not in shown
        assert "***" in shown


@pytest.mark.parametrize("text", SHOWN)
def test_texts_without_a_password_are_shown(text):
    assert hide_password(text) == text
    assert repr(DatabaseURL(text)) == repr(text)


@pytest.mark.parametrize("url", [url for url in URLS if "secret" in url])
def test_no_repr_of_a_search_shows_the_password(url):
    search = OptunaSearchCV(LogisticRegression(), {"C": [1.0]}, storage=url)
    later = OptunaSearchCV(LogisticRegression(), {"C": [1.0]}).set_params(storage=url)
    subclass = OptunaSearchCV(LogisticRegression(), {"C": [1.0]}, storage=np.str_(url))
    outer = [
        subclass,
        make_pipeline(search),
        GridSearchCV(search, {"n_trials": [1]}),
        OptunaSearchCV(search, {}, storage=url),
    ]
    copies = [clone(search), copy.deepcopy(search), pickle.loads(pickle.dumps(search))]
    for shown in [search, later, *outer, *copies]:
        for text in (repr(shown), str(shown), estimator_html_repr(shown), repr(shown.get_params())):
            assert "secret" not in text
            assert "***" in text
    for same in [search, later, *copies]:
        assert same.storage == url
        assert isinstance(same.storage, str)
