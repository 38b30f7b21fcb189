"""Names of people, towns, jobs and things in the generated texts: common short words, one tokenizer piece each."""

from __future__ import annotations

PEOPLE = (
    "Ann Ben Carl Dora Eva Finn Gina Hans Iris Jack Kate Leo Mia Nina Otto Paul Rosa Sam Tina Uma Vera Will Yara Zoe "
    "Adam Beth Clara Dan Emma Fred Greta Hugo Ida Jana Karl Lena Max Nora Oscar Petra Ruth Simon Tom Ursula Victor "
    "Wanda Yusuf Alma"
).split()
TOWNS = (
    "Rome Paris Oslo Berlin Lima Cairo Delhi Tokyo Madrid Vienna Prague Lisbon Dublin Athens Boston Sydney Geneva "
    "Milan Naples Turin Bonn Basel Porto Riga Kyoto Havana Quito Dakar Tunis Perth Leeds Bergen"
).split()
JOBS = (
    "baker doctor teacher farmer driver painter singer nurse cook judge lawyer tailor gardener writer dancer sailor "
    "pilot porter printer butcher banker carpenter guard miner"
).split()
PETS = "cat dog horse goat sheep parrot rabbit duck hen pig turtle mouse donkey camel pony fox".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FOODS = (
    "soup rice bread cheese fish cake honey butter salad pasta beans corn jam milk tea coffee juice lemons pears plums"
).split()
RIDES = "bus train bike boat car tram taxi ship plane truck".split()
VIEWS = (
    "funny sad slow long short loud quiet clever silly dark bright sweet strange brave boring lovely dull wild gentle "
    "rough"
).split()
THINGS = (
    "lamp chair table clock book ring knife bowl mirror carpet basket bottle drum flute vase ladder blanket pillow "
    "candle hammer kettle pen box bag hat coat shirt scarf brush bell"
).split()
NUMBERS = [str(n) for n in range(2, 42)]
