"""Scripted players of Atari games: experts that record in minutes and can be imitated.

They read the console's memory (addresses after OCAtari, Delfosse et al. 2024, and AtariARI, Anand
et al. 2019) or its screen, but nothing that four frames do not show, and mostly act on the present
state alone. Look-ahead scores more in some games; what it does depends on a future that an imitator
cannot see.

    base        what they share: actions by name, dodging
    breakout    Breakout
    shooters    Space Invaders, Phoenix, Name This Game
    fighters    Boxing, Battle Zone
    mazes       Q*bert, Bank Heist
"""
